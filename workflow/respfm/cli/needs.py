"""What a configuration needs before it can run: downloads, disk, work by hand, and GPU hours.

Sizes come from the registries and are rounded; what is here already is seen from the files on disk. No network.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from respfm.config.plan import Plan
from respfm.retrieve.mirror import local_copies
from respfm.retrieve.registry import pieces_of

GIGA = 1e9
READY = "ready"
SUSTAINED_FLOPS = 60e12
CORE_FLOPS = 90e9
EMBEDDED_PER_SECOND = 100
WINDOW_SECONDS = 10


@dataclass(frozen=True)
class Need:
    """A data set or checkpoint; sizes in GB (10^9 bytes), None where unknown.

    Attributes:
        download: size of what is published; `missing` of it is not here yet.
        disk: size of the unpacked files.
        logmel: size in the log-mel store, 0 if it is not pre-trained on.
        state: what is here, or how to get it.
        how: what to do by hand; empty if nothing.
    """

    name: str
    download: float | None
    missing: float | None
    disk: float | None
    logmel: float | None
    state: str
    how: str = ""


@dataclass(frozen=True)
class RunNeed:
    """A pre-training run: items per epoch and GPU hours, None where the number of recordings is unknown."""

    name: str
    items: int | None
    epochs: int
    gpu_hours: float | None
    state: str


def dataset_needs(plan: Plan) -> list[Need]:
    """What each data set of the configuration takes, in the order of the plan."""
    return [_dataset_need(plan, name) for name in plan.sources]


def checkpoint_needs(plan: Plan) -> list[Need]:
    """What each published checkpoint takes."""
    needs = []
    for name in plan.checkpoint_models():
        checkpoint = plan.settings.models[name]["checkpoint"]
        size = checkpoint["bytes"] / GIGA if "bytes" in checkpoint else None
        here = Path(plan.config["results"], "checkpoints", name, ".sources.json").is_file()
        by_hand = checkpoint.get("access") == "by hand" and not here
        how = f"{checkpoint['url']} {checkpoint.get('note', '')}".strip() if by_hand else ""
        state = READY if here else "by hand" if by_hand else "to download"
        needs.append(Need(name, size, 0.0 if here else size, size, 0.0, state, how))
    return needs


def run_needs(plan: Plan) -> list[RunNeed]:
    """What each pre-training run takes, at `SUSTAINED_FLOPS` matrix-product FLOP/s per GPU."""
    return [_run_need(plan, name) for name in plan.runs]


def embedding_gpu_hours(plan: Plan) -> float:
    """GPU hours of all embeddings, at `EMBEDDED_PER_SECOND` windows of 10 s per second and model."""
    windows = _task_hours(plan) * 3600 / WINDOW_SECONDS * len(plan.protocols) * len(plan.models)
    return windows / EMBEDDED_PER_SECOND / 3600


def waveform_gigabytes(plan: Plan) -> float:
    """Size of the cached waveforms of all task data sets: float32 at every sample rate that a model takes."""
    rates = {rate for model in plan.models if (rate := plan.waveform_rate(model))}
    return _task_hours(plan) * 3600 * sum(rates) * 4 / GIGA


def _task_hours(plan: Plan) -> float:
    return sum(plan.settings.datasets[name]["approximate"].get("hours", 0) for name in plan.task_datasets)


def _dataset_need(plan: Plan, name: str) -> Need:
    entry = plan.settings.datasets[name]
    rough = entry["approximate"]
    pieces = [piece for file in entry["files"] for piece in pieces_of(file)]
    sizes = [piece.expected.bytes for piece in pieces if piece.expected.bytes is not None]
    download = sum(sizes) / GIGA if len(sizes) == len(pieces) else rough.get("download_gb")
    disk = rough.get("unpacked_gb", download)
    logmel = _logmel_gigabytes(plan, name) if name in plan.mixture_datasets else 0.0
    here, total = _files_here(plan, name), len(pieces)
    missing = None if download is None else download * (total - here) / max(total, 1)
    if Path(plan.config["results"], "raw", name, ".sources.json").is_file():
        return Need(name, download, 0.0, disk, logmel, READY)
    folder = plan.config["local"].get(name)
    if folder and Path(folder).is_dir():
        return Need(name, 0.0, 0.0, disk, logmel, f"local: {folder}")
    if folder or not pieces:
        how = (
            f"{entry.get('how', 'Get it by hand.')} Its folder is named by `local: {{{name}: {folder or '<folder>'}}}`."
        )
        state = f"local: {folder} is missing" if folder else "by hand"
        return Need(name, download, missing, disk, logmel, state, how)
    if here == total:
        return Need(name, download, 0.0, disk, logmel, "in a mirror or downloaded")
    remedy = "to download"
    if plan.config["offline"]:
        remedy = "the rest is left out" if plan.config["allow_partial"] and here else "missing while `offline` is set"
    return Need(name, download, missing, disk, logmel, f"{here} of {total} files here, {remedy}")


def _files_here(plan: Plan, name: str) -> int:
    """How many of the remote files of a data set lie in mirrors that are folders, or among the downloads."""
    downloads = Path(plan.config["downloads"], name)
    pieces = [piece for file in plan.settings.datasets[name]["files"] for piece in pieces_of(file)]
    return sum(
        (downloads / piece.name).is_file() or bool(local_copies([piece.urls[0]], plan.config["mirror"]))
        for piece in pieces
    )


def _logmel_gigabytes(plan: Plan, name: str) -> float | None:
    entry, options = plan.settings.datasets[name], plan.config["logmel"]
    if "hours" not in entry["approximate"]:
        return None
    shortest = options["min_seconds"] * (_recordings(plan, name) or 0)
    seconds = max(entry["approximate"]["hours"] * 3600, shortest)
    width = {"float16": 2, "float32": 4}[options["dtype"]]
    return seconds * options["sample_rate"] / options["hop_length"] * options["n_mels"] * width / GIGA


def _run_need(plan: Plan, name: str) -> RunNeed:
    from respfm.m2d.config import M2DConfig
    from respfm.pretrain.flops import sample_flops

    run = plan.settings.runs[name]
    done = Path(plan.config["results"], "pretraining", name, "encoder.safetensors").is_file()
    state = READY if done else "to train"
    parts = plan.settings.mixtures[run["mixture"]]["parts"]
    counts = [part.get("expected") or _recordings(plan, part["dataset"]) for part in parts]
    if None in counts:
        return RunNeed(name, None, run["epochs"], None, state)
    items = sum(count * part["repeats"] for count, part in zip(counts, parts, strict=True))
    flops = items * run["epochs"] * sample_flops(M2DConfig.from_dict(run["model"]))
    return RunNeed(name, items, run["epochs"], flops / SUSTAINED_FLOPS / 3600, state)


def _recordings(plan: Plan, name: str) -> int | None:
    """Published number of recordings; of Coswara, whose patients have one of each sound, of patients."""
    expected = plan.settings.datasets[name]["expected"]
    return expected.get("recordings", expected.get("patients"))


def describe_needs(plan: Plan) -> str:
    """The tables and remarks that `respfm plan` prints."""
    if "demo_corpus" in plan.config:
        return "The synthetic corpus is made by the workflow: nothing to download, little disk, minutes on a CPU."
    datasets, checkpoints, runs = dataset_needs(plan), checkpoint_needs(plan), run_needs(plan)
    text = ["Data sets and checkpoints, in GB (10^9 bytes, rounded; ? = not stated by the publisher)"]
    text.append(_table(("", "download", "missing", "on disk", "log-mel", "state"), _need_rows(datasets + checkpoints)))
    if by_hand := [need for need in datasets + checkpoints if need.how]:
        text.append("To get by hand:\n" + "\n".join(f"- {need.name}: {need.how}" for need in by_hand))
    if plan.config["allow_partial"]:
        text.append("`allow_partial` is set: sizes, items and hours are those of the whole data sets, an upper bound.")
    if runs:
        rows = [(run.name, _number(run.items, 0), str(run.epochs), _number(run.gpu_hours), run.state) for run in runs]
        text.append(_table(("pre-training run", "items/epoch", "epochs", "GPU hours", "state"), rows))
    text.append(
        f"Waveforms that embedding jobs share take up to {_number(waveform_gigabytes(plan))} GB in "
        f"{plan.config['results']}/waveforms; the folder may be deleted when all embeddings are there, but then a "
        "model that is added later makes all of them again."
    )
    text.append(_gpu_summary(plan, runs))
    return "\n\n".join(text)


def _need_rows(needs: Sequence[Need]) -> list[tuple[str, ...]]:
    columns = ("download", "missing", "disk", "logmel")
    rows = [(need.name, *(_number(getattr(need, column)) for column in columns), need.state) for need in needs]
    totals = [_total(getattr(need, column) for need in needs) for column in columns]
    return [*rows, ("total", *totals, "")]


def _total(values: Iterable[float | None]) -> str:
    values = list(values)
    known = _number(sum(value for value in values if value is not None))
    return f"> {known}" if None in values else known


def _gpu_summary(plan: Plan, runs: Sequence[RunNeed]) -> str:
    hours = _total(run.gpu_hours for run in runs if run.state != READY)
    return (
        f"GPU hours: {hours} for pre-training that is not done yet, about {_number(embedding_gpu_hours(plan))} for "
        f"embeddings. Assumed: {SUSTAINED_FLOPS / 1e12:.0f} TFLOP/s of matrix products sustained per GPU in mixed "
        "precision (a fifth of an A100's peak; halve the hours for an H100), FLOPs of forward and backward pass "
        f"counted per item; {EMBEDDED_PER_SECOND} windows of {WINDOW_SECONDS} s per second and model for embeddings. "
        f"Without a GPU count {SUSTAINED_FLOPS / CORE_FLOPS:.0f} core hours for each. Train for some minutes and read "
        "the run's timing.csv for a better number. Log-mel, probes, tables and figures need no GPU."
    )


def _number(value: float | None, digits: int | None = None) -> str:
    if value is None:
        return "?"
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 1 else 3
    return f"{value:,.{digits}f}" if value else "0"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Columns aligned with blanks: the first and the last to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    last = len(header) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
