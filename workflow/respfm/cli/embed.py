"""Embed somebody's own folder of recordings: any format, any rate, the same numbers as the workflow."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from respfm.config.reading import read_yaml
from respfm.curate.inspect import inspect_recordings
from respfm.curate.metadata import audio_files
from respfm.embed.dataset import embed_dataset, read_embeddings
from respfm.encoders import FAMILIES, load_encoder
from respfm.errors import RespfmError, suggest
from respfm.files import atomic_path
from respfm.recordings import usable
from respfm.retrieve.checksums import Expected, verify

BATCH_SIZE = 16


def list_audio(places: Sequence[Path]) -> pd.DataFrame:
    """Audio files among and below `places`: id (the path as given), path (absolute), patient (unknown)."""
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            files += [place / path for path in audio_files(place)]
        elif place.is_file():
            files.append(place)
        else:
            raise RespfmError(f"{place} does not exist; name audio files or folders that hold some")
    names = [str(path) for path in files]
    frame = pd.DataFrame({"id": names, "path": [str(path.resolve()) for path in files], "patient": ""})
    return frame.drop_duplicates("path", ignore_index=True)


def embed_recordings(
    places: Sequence[Path],
    out: Path,
    *,
    model: str,
    checkpoint: Path | None = None,
    layer: str = "all",
    protocol: str = "strict",
    device: str = "auto",
    registry: Path,
) -> None:
    """Write the embeddings of the recordings at `places` to `out`: .h5 holds all layers, .csv and .parquet one row
    per recording with a column per dimension of the chosen layer (or of all).

    `model` is an entry of `registry` (config/models.yaml) or an encoder of the zoo. Recordings that cannot be used
    are listed on stderr and left out.
    """
    from respfm.device import choose_device

    if out.suffix not in (".h5", ".csv", ".parquet"):
        raise RespfmError(f"{out}: write embeddings to a file .h5, .csv or .parquet")
    models = read_yaml(registry)
    if ":" not in model and model not in {*models, *FAMILIES}:
        raise RespfmError(f"model {model!r} does not exist; {suggest(model, {*models, *FAMILIES})}")
    entry = models.get(model, {})
    _check_weights(model, entry, checkpoint)
    quirks = entry.get("published_options", {}) if protocol == "published" else {}
    encoder = load_encoder(entry.get("family", model), checkpoint, **(entry.get("options", {}) | quirks))
    chosen = list(encoder.layers) if layer == "all" else [layer]
    if not set(chosen) <= set(encoder.layers):
        raise RespfmError(f"{model} has no layer {layer!r}; choose all or one of {', '.join(encoder.layers)}")
    recordings = inspect_recordings(list_audio(places), Path("/"))
    bad = recordings[recordings["quarantine"] != ""]
    for row in bad.itertuples():
        print(f"left out: {row.id}: {row.quarantine}", file=sys.stderr)
    if len(bad) == len(recordings):
        raise RespfmError(f"none of the {len(bad)} recordings can be used; the reasons are above")
    with atomic_path(out) as temporary, tempfile.TemporaryDirectory() as folder:
        target = temporary if out.suffix == ".h5" else Path(folder) / "embeddings.h5"
        embed_dataset(
            encoder,
            usable(recordings),
            Path("/"),
            protocol,
            target,
            batch_size=entry.get("published_batch", BATCH_SIZE) if protocol == "published" else BATCH_SIZE,
            device=choose_device(device),
            attributes={"model": model},
            layers=chosen,
        )
        if target != temporary:
            _write_table(temporary, target, chosen)


def _check_weights(model: str, entry: dict[str, Any], checkpoint: Path | None) -> None:
    """Raise RespfmError that says where the weights of a registry entry are to be had, if they were not given, or that
    they are not the published ones."""
    published = entry.get("checkpoint")
    if checkpoint is not None:
        if published and not published.get("unpack") and checkpoint.is_file():
            known = {key: published.get(key) for key in ("bytes", "sha256", "md5")}
            try:
                verify(checkpoint, Expected(**known))
            except RespfmError as error:
                raise RespfmError(
                    f"{error} It is not what the publisher of {entry['title']} has at {published['url']}: "
                    "get it again, or give a checkpoint of your own an entry of its own in config/models.yaml"
                ) from error
        return
    if entry.get("weights") not in ("published", "own") and "run" not in entry:
        return
    if published:
        source = f"get {published['url']} (licence: {published['licence']}) and name the file"
    else:
        source = f"name the encoder.safetensors of its pre-training run ({entry['run']})"
    raise RespfmError(f"model {model!r} needs weights; {source} with --checkpoint")


def _write_table(out: Path, embeddings: Path, layers: Sequence[str]) -> None:
    ids, vectors = read_embeddings(embeddings, layers)
    parts = [
        pd.DataFrame(values, columns=[f"{layer}_{i}" for i in range(values.shape[1])])
        for layer, values in vectors.items()
    ]
    table = pd.concat([pd.DataFrame({"recording": ids}), *parts], axis=1)
    if out.suffix == ".csv":
        table.to_csv(out, index=False)
    else:
        table.to_parquet(out, index=False)
