"""The model zoo: every model of config/models.yaml by name, each family in a module imported only when asked for."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from respfm.encoders.registry import read_registry, resolve, weights_needed
from respfm.errors import RespfmError, suggest

if TYPE_CHECKING:
    from respfm.encoders.base import Encoder


def load_encoder(
    name: str,
    checkpoint: str | Path | None = None,
    protocol: str = "strict",
    dataset: str | None = None,
    **options: Any,
) -> "Encoder":
    """Load model `name` with the weights of `checkpoint` (the publisher's own file) in evaluation mode.

    `name` is an entry of config/models.yaml, or `package.module:Class`, which is called as `Class(checkpoint,
    **options)`. Of an entry it is what the workflow loads under `protocol` ("published" or "strict") for `dataset`;
    `options` are laid over those of the entry. Raises RespfmError, which names the model.
    """
    if ":" in name:
        return _own_encoder(name, checkpoint, options)
    registry = read_registry()
    if name not in registry:
        raise RespfmError(f"model {name!r} does not exist; {suggest(name, registry)}")
    return load_model(name, registry[name], checkpoint, protocol, dataset, **options)


def load_model(
    name: str,
    entry: Mapping[str, Any],
    checkpoint: str | Path | None = None,
    protocol: str = "strict",
    dataset: str | None = None,
    **options: Any,
) -> "Encoder":
    """`load_encoder` for an `entry` that need not be in config/models.yaml; `checkpoint` is its `file` by default."""
    model = resolve(entry, protocol, dataset)
    options = model.options | options
    checkpoint = checkpoint or entry.get("file")
    needed = None if "random_seed" in options else weights_needed(entry)
    if needed and (checkpoint is None or not Path(checkpoint).exists()):
        lost = "" if checkpoint is None else f"{checkpoint}: there is no such checkpoint file; "
        raise RespfmError(f"{lost}model {name!r} needs the checkpoint file {needed}; name it as `checkpoint`")
    return load_family(model.family, checkpoint, options, name)


def load_family(family: str, checkpoint: str | Path | None, options: Mapping[str, Any], model: str) -> "Encoder":
    """The encoder that `family`, a module of this package or `package.module:Class`, makes of `checkpoint`.

    Raises RespfmError, which names `model`.
    """
    try:
        if ":" in family:
            return _own_encoder(family, checkpoint, options)
        load = importlib.import_module(family_module(family)).load
        known = inspect.signature(load).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
        if (unknown := sorted(options.keys() - known.keys())) and not takes_any:
            raise RespfmError(f"family {family!r} has no option {unknown[0]!r}; {suggest(unknown[0], known)}")
        return load(None if checkpoint is None else Path(checkpoint), **options)
    except RespfmError as error:
        raise RespfmError(f"model {model!r}: {error}") from error


def family_module(family: str) -> str:
    """Dotted name of the module of a family, for example `respfm.encoders.m2d`."""
    return family.partition(":")[0] if ":" in family else f"{__name__}.{family}"


def _own_encoder(name: str, checkpoint: str | Path | None, options: Mapping[str, Any]) -> "Encoder":
    from respfm.encoders.base import check_encoder, foreign_failure

    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise RespfmError(
            f"{name!r} cannot be imported: {error}; name it `module:Class` and put its folder on PYTHONPATH"
        ) from error
    try:
        encoder = factory(checkpoint, **options)
    except RespfmError:
        raise
    except Exception as error:
        raise foreign_failure(name, error) from error
    check_encoder(name, encoder)
    return encoder
