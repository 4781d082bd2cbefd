"""What a model is: the entries of config/models.yaml, resolved for a protocol and a data set; torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from respfm.errors import RespfmError

REGISTRY = Path(__file__).resolve().parents[3] / "config" / "models.yaml"
SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Model:
    """An entry under one protocol and for one data set.

    `options` are arguments of the loader of `family`. `batch_size` is None where numbers do not depend on it,
    `sample_rate` (Hz) where only the encoder knows it, `default_layer` where the encoder's own is meant.
    """

    family: str
    options: dict[str, Any]
    batch_size: int | None
    sample_rate: int | None
    default_layer: str | None


def read_registry() -> dict[str, dict]:
    """The entries of config/models.yaml by name, as they stand there: nothing is validated, no default filled in."""
    try:
        text = REGISTRY.read_text(encoding="utf-8")
    except OSError as error:
        raise RespfmError(
            f"{REGISTRY} cannot be read ({error.strerror}); install respfm from a clone with `pip install -e .`"
        ) from error
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def resolve(entry: Mapping[str, Any], protocol: str, dataset: str | None = None) -> Model:
    """`entry` under `protocol`, "published" or "strict", else RespfmError; strict leaves out its `published_*` keys."""
    if protocol not in ("published", "strict"):
        raise RespfmError(f"protocol {protocol!r} is not known; it is 'published' or 'strict'")
    published = entry if protocol == "published" else {}
    quirks = published.get("published_options", {})
    of_dataset = published.get("published_dataset_options", {}).get(dataset, {})
    return Model(
        family=entry["family"],
        options={**entry.get("options", {}), **quirks, **of_dataset},
        batch_size=published.get("published_batch"),
        sample_rate=entry.get("sample_rate", None if ":" in entry["family"] else SAMPLE_RATE),
        default_layer=quirks.get("default_layer", entry.get("default_layer")),
    )


def weights_needed(entry: Mapping[str, Any]) -> str | None:
    """The file with the weights of `entry` and where to get it, as part of a sentence; None if it needs none."""
    if checkpoint := entry.get("checkpoint"):
        file = checkpoint.get("member") or checkpoint.get("path") or PurePosixPath(checkpoint["url"]).name
        return f"{file}; get it from {checkpoint['url']} (licence: {checkpoint.get('licence', 'not stated')})"
    return f"encoder.safetensors; its pre-training run makes it ({entry['run']})" if "run" in entry else None
