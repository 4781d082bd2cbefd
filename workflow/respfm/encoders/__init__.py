"""The model zoo: every encoder by name, each family in a module that is imported only when asked for."""

import importlib
from pathlib import Path
from typing import Any

from respfm.errors import RespfmError, suggest

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "logmel_stats": ("logmel_stats", {}),
    "wav2vec2": ("speech", {"architecture": "wav2vec2"}),
    "hubert": ("speech", {"architecture": "hubert"}),
    "wavlm": ("speech", {"architecture": "wavlm"}),
    "ast": ("ast", {}),
    "beats": ("beats", {}),
    "htsat": ("htsat", {"architecture": "htsat"}),
    "laion_clap": ("htsat", {"architecture": "laion_clap"}),
    "clap_2023": ("htsat", {"architecture": "clap_2023"}),
    "opera_ct": ("htsat", {"architecture": "opera_ct"}),
    "m2d": ("m2d", {}),
    "m2d_resp": ("m2d", {}),
    "m2d_meanpool": ("m2d", {"pooling": "mean"}),
    "m2d_ftas": ("m2d", {"input_size": (80, 1001)}),
    "m2d_clap": ("m2d", {}),
    "m2d_s": ("m2d", {"patch_size": (80, 2)}),
    "m2d_40ms": ("m2d", {"input_size": (80, 200), "patch_size": (16, 4)}),
    "m2d_20ms": ("m2d", {"patch_size": (80, 2)}),
    "msm_mae": ("m2d", {}),
    "cnn14": ("cnn14", {}),
    "clap_2022": ("cnn14", {"architecture": "clap_2022"}),
    "byola": ("byola", {}),
    "byola_v2": ("byola", {"version": 2}),
    "atst_clip": ("atst", {"architecture": "clip"}),
    "atst_frame": ("atst", {"architecture": "frame"}),
    "audiomae": ("audiomae", {}),
    "opera_gt": ("opera_gt", {}),
    "ced": ("dasheng", {"architecture": "ced", "batch_floor": True}),
    "dasheng": ("dasheng", {}),
    "openl3": ("openl3", {}),
}


def family_module(name: str) -> str:
    """Dotted name of the module that implements encoder `name`, for example `respfm.encoders.m2d`."""
    if ":" in name:
        return name.partition(":")[0]
    if name not in FAMILIES:
        raise RespfmError(f"encoder {name!r} is not known; {suggest(name, FAMILIES)}")
    return f"{__name__}.{FAMILIES[name][0]}"


def load_encoder(name: str, checkpoint: str | Path | None = None, **options: Any):
    """Load encoder `name` with the weights of `checkpoint` (the publisher's own file) in evaluation mode.

    `name` is one of FAMILIES or `package.module:Class`, which is called as `Class(checkpoint, **options)`.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise RespfmError(
                f"encoder {name!r} cannot be imported: {error}; name it `module:Class` and put its folder on PYTHONPATH"
            ) from error
        return _own_encoder(name, factory, checkpoint, options)
    family = importlib.import_module(family_module(name))
    return family.load(Path(checkpoint) if checkpoint is not None else None, **{**FAMILIES[name][1], **options})


def _own_encoder(name: str, factory: Any, checkpoint: str | Path | None, options: dict[str, Any]):
    from respfm.encoders.base import check_encoder, foreign_failure

    try:
        encoder = factory(checkpoint, **options)
    except RespfmError:
        raise
    except Exception as error:
        raise foreign_failure(name, error) from error
    check_encoder(name, encoder)
    return encoder
