"""One rank of a run: the files that its spec names are read, then it trains.

spec.json: run (an entry of `runs`), mixture (parquet), shards {dataset: [h5, ...]}, statistics (json), outdir, and
where the run asks for them init_from, background, background_statistics, teacher (files); workers and machine
(settings of respfm.pretrain.settings.Machine).
"""

import datetime
import json
import os
from pathlib import Path
from typing import Any

from respfm.errors import RespfmError
from respfm.jobs.memory import use_huge_pages

NEEDED = ("run", "mixture", "shards", "statistics", "outdir")


def read_spec(path: Path) -> dict[str, Any]:
    """The description of a run in a JSON file; RespfmError if it is not one."""
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RespfmError(f"{path} cannot be read ({error.strerror}); rule pretrain_encoder writes it") from error
    except ValueError as error:
        raise RespfmError(f"{path} is not JSON ({error}); run rule pretrain_encoder to write it anew") from error
    lacking = [key for key in NEEDED if not isinstance(spec, dict) or key not in spec]
    if lacking:
        raise RespfmError(f"{path} lacks {', '.join(lacking)}; run rule pretrain_encoder to write it anew")
    return spec


def train_from_spec(spec: dict[str, Any]) -> None:
    """Read the files that `spec` names and train; joins the process group of torchrun if there is one."""
    use_huge_pages()
    import pandas as pd
    import torch
    import torch.distributed as dist

    from respfm.pretrain.settings import Machine
    from respfm.pretrain.trainer import train

    def optional(key: str, read: Any) -> Any:
        return read(spec[key]) if spec.get(key) else None

    def read_json(path: str) -> Any:
        return json.loads(Path(path).read_text(encoding="utf-8"))

    distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if distributed:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=datetime.timedelta(minutes=30))
    try:
        train(
            spec["run"],
            pd.read_parquet(spec["mixture"]),
            {dataset: [Path(path) for path in paths] for dataset, paths in spec["shards"].items()},
            read_json(spec["statistics"]),
            Path(spec["outdir"]),
            optional("init_from", Path),
            spec.get("workers", 2),
            background=optional("background", pd.read_parquet),
            background_statistics=optional("background_statistics", read_json),
            teacher=optional("teacher", Path),
            machine=Machine(**spec.get("machine", {})),
        )
    finally:
        if distributed:
            dist.destroy_process_group()
