"""Embed somebody's own folder of recordings: any format, any rate, the same numbers as the workflow."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from respfm.config.settings import Settings
from respfm.curate.inspect import inspect_recordings
from respfm.curate.metadata import audio_files
from respfm.embed.dataset import embed_dataset, read_embeddings
from respfm.encoders import load_encoder, load_model
from respfm.encoders.registry import resolve
from respfm.errors import RespfmError, suggest
from respfm.files import atomic_path
from respfm.recordings import usable
from respfm.retrieve.checksums import Expected, verify


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
    settings: Settings,
    checkpoint: Path | None = None,
    layer: str = "all",
    protocol: str = "strict",
    dataset: str | None = None,
    device: str = "auto",
) -> None:
    """Write the embeddings of the recordings at `places` to `out`: .h5 holds all layers, .csv and .parquet one row
    per recording with a column per dimension of the chosen layer (or of all).

    `model` is one of `settings`, embedded as the workflow does under `protocol` (for `dataset`, if that has options of
    its own), or `package.module:Class`. Recordings that cannot be used are listed on stderr and left out.
    """
    from respfm.device import choose_device

    if out.suffix not in (".h5", ".csv", ".parquet"):
        raise RespfmError(f"{out}: write embeddings to a file .h5, .csv or .parquet")
    if dataset is not None and dataset not in settings.datasets:
        raise RespfmError(f"data set {dataset!r} does not exist; {suggest(dataset, settings.datasets)}")
    embed = settings.config["embed"]
    batch_size = None
    if ":" in model:
        encoder = load_encoder(model, checkpoint)
    elif model in settings.models:
        entry = settings.models[model]
        _check_published(entry, checkpoint)
        encoder = load_model(model, entry, checkpoint, protocol, dataset)
        batch_size = resolve(entry, protocol).batch_size
    else:
        raise RespfmError(f"model {model!r} does not exist; {suggest(model, settings.models)}")
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
            seed=settings.config["seed"],
            batch_size=batch_size or embed["batch_size"],
            device=choose_device(device),
            precision=embed["precision"],
            attributes={"model": model},
            layers=chosen,
        )
        if target != temporary:
            _write_table(temporary, target, chosen)


def _check_published(entry: Mapping[str, Any], checkpoint: Path | None) -> None:
    """Raise RespfmError if `checkpoint` is not the published file of `entry`, where its digest is known."""
    published = entry.get("checkpoint")
    if checkpoint is None or published is None or published.get("unpack") or not checkpoint.is_file():
        return
    try:
        verify(checkpoint, Expected(**{key: published.get(key) for key in ("bytes", "sha256", "md5")}))
    except RespfmError as error:
        raise RespfmError(
            f"{error}. It is not what the publisher of {entry['title']} has at {published['url']}: get it again, or "
            "give a checkpoint of your own an entry of its own under `add: {models: ...}`"
        ) from error


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
