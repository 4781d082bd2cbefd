"""A run on one rank: the files that its spec names are read, the parts of the training are put together, and it trains.

spec.json: run (an entry of `runs`), mixture (parquet), shards {dataset: [h5, ...]}, statistics (json), outdir, and
where the run asks for them init_from, background, background_statistics, teacher (files); workers and machine
(settings of respfm.pretrain.settings.Machine).
"""

import datetime
import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist

from respfm import device as devices
from respfm.errors import RespfmError
from respfm.files import file_digest
from respfm.jobs.code import code_digest
from respfm.jobs.memory import keep_freed_memory, use_huge_pages
from respfm.logmel.mixture import Recordings
from respfm.m2d import M2DConfig
from respfm.pretrain.data import Batches
from respfm.pretrain.learner import Learner
from respfm.pretrain.settings import Machine, Recipe
from respfm.pretrain.trainer import Trainer, rank_of_ranks

NEEDED = ("run", "mixture", "shards", "statistics", "outdir")


def read_spec(path: Path) -> dict[str, Any]:
    """The description of a run in a JSON file; RespfmError if it is not one."""
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RespfmError(f"{path} cannot be read ({error.strerror}); rule pretrain_encoder writes it") from error
    except ValueError as error:
        raise RespfmError(f"{path} is not JSON ({error}); run rule pretrain_encoder to write it again") from error
    lacking = [key for key in NEEDED if not isinstance(spec, dict) or key not in spec]
    if lacking:
        raise RespfmError(f"{path} lacks {', '.join(lacking)}; run rule pretrain_encoder to write it again")
    return spec


def train(spec: dict[str, Any]) -> None:
    """Pre-train an encoder and write it with its history into the `outdir` of `spec`; one call per rank under torchrun.

    `init_from` is a checkpoint to train *further* from (weights only; optimiser and schedule start fresh). An
    interrupted run of the same recipe and data *continues* exactly from its checkpoint in `outdir`/checkpoints.
    `teacher` is the encoder of the offline loss (M2D-X). `workers` are loader processes per rank; the result does not
    depend on their number.

    Writes encoder.safetensors, checkpoint.pth, history.csv, curves.pdf, curves.png and, with wall-clock times,
    timing.csv. Raises Interrupted after SIGTERM or SIGUSR1 (saved), RespfmError if the mixture is smaller than a batch
    or the loss is not finite (the last good checkpoint stays).
    """
    use_huge_pages()
    distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if distributed:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=datetime.timedelta(minutes=30))
    try:
        statistics = _read_json(spec["statistics"])
        trainer = _trainer(spec, statistics)
        trainer.run(spec.get("workers", 2))
        if trainer.rank == 0:
            trainer.finish(spec["run"].get("title", trainer.outdir.name), statistics)
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        # PyTorch would raise the error again for every loader that ends; they ignore the signal that Python sends them.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for loader in multiprocessing.active_children():
            loader.kill()
        raise RespfmError(
            f"a loader process died ({error}); most likely memory ran out. Start again, the run continues from its "
            "last checkpoint; lower `machine.loader_workers` or give it more memory if it happens again"
        ) from error
    finally:
        if distributed:
            dist.destroy_process_group()


def _trainer(spec: dict[str, Any], statistics: dict[str, float]) -> Trainer:
    recipe, machine = Recipe.from_run(spec["run"]), Machine(**spec.get("machine", {}))
    rank, ranks = rank_of_ranks()
    machine.check(recipe.batch_size, ranks)
    keep_freed_memory()
    torch.set_num_threads(machine.threads or max(1, (os.cpu_count() or 1) // ranks))
    config = M2DConfig.from_dict(recipe.model)
    shards = {dataset: [Path(path) for path in paths] for dataset, paths in spec["shards"].items()}
    mixture, background, background_statistics = pd.read_parquet(spec["mixture"]), None, None
    if recipe.noise_ratio:
        if not (spec.get("background") and spec.get("background_statistics")):
            raise RespfmError(
                f"noise_ratio is {recipe.noise_ratio}, but the run has no background mixture; add `background`"
            )
        background = pd.read_parquet(spec["background"])
        background_statistics = _read_json(spec["background_statistics"])
    init_from, teacher = (Path(spec[key]) if spec.get(key) else None for key in ("init_from", "teacher"))
    identity = {
        "recipe": vars(recipe),
        "mixture": _mixture_digest(mixture),
        "statistics": statistics,
        "background": None if background is None else [_mixture_digest(background), background_statistics],
        "init_from": None if init_from is None else file_digest(init_from),
        "teacher": None if teacher is None else file_digest(teacher),
    }
    batches = Batches(
        _recordings(mixture, shards, config),
        None if background is None else _recordings(background, shards, config),
        batch_size=recipe.batch_size,
        frames=config.input_size[1],
        patches=config.patches,
        seed=recipe.seed,
        quirks=recipe.quirks,
        rank=rank,
        ranks=ranks,
    )
    device = devices.choose_device(machine.device)
    learner = Learner(recipe, machine, device, statistics, background_statistics, init_from, teacher)
    return Trainer(recipe, machine, batches, learner, Path(spec["outdir"]), identity, code_digest(Path(__file__)))


def _read_json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _recordings(mixture: pd.DataFrame, shards: dict[str, list[Path]], config: M2DConfig) -> Recordings:
    """The recordings of `mixture`; RespfmError unless their log-mels are of the kind that the encoder takes."""
    recordings = Recordings.open(mixture, shards)
    for store in recordings.stores:
        if store.definition != config.front_end:
            raise RespfmError(
                f"the log-mels were made by {store.definition}, but the encoder takes those of {config.front_end}; let "
                "`logmel` of the configuration and the run's `model` (sample_rate, input_size) agree"
            )
    return recordings


def _mixture_digest(mixture: pd.DataFrame) -> str:
    rows = pd.util.hash_pandas_object(mixture[["dataset", "recording", "repeats"]], index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()
