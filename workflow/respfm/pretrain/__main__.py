"""The ranks of a run on one machine: `python -m respfm.pretrain --spec spec.json`, plain or under torchrun.

spec.json: run (an entry of `runs`), mixture (parquet), shards {dataset: [h5, ...]}, statistics (json), outdir, and
where the run asks for them init_from, background, background_statistics, teacher (files); workers and machine
(settings of respfm.pretrain.settings.Machine). Exit status 75: stopped on request with its state saved, start again.
"""

import argparse
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

from respfm.allocator import use_huge_pages
from respfm.errors import RespfmError


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


def main() -> int:
    """Exit status of this rank, or of all that were started here."""
    from respfm.pretrain.interruption import EXIT_REQUEUE, Interrupted
    from respfm.pretrain.launch import torchrun

    parser = argparse.ArgumentParser(prog="python -m respfm.pretrain", description="Train the ranks of this machine.")
    parser.add_argument("--spec", type=Path, required=True, help="JSON file that describes the run")
    parser.add_argument("--processes", type=int, default=1, help="ranks on this machine")
    parser.add_argument("--nodes", type=int, default=1, help="machines, all in one Slurm job")
    arguments = parser.parse_args()
    if arguments.processes * arguments.nodes > 1:
        return torchrun(arguments.spec, arguments.processes, arguments.nodes)
    try:
        train_from_spec(json.loads(arguments.spec.read_text(encoding="utf-8")))
    except Interrupted as stop:
        print(f"respfm: {stop}", file=sys.stderr)
        return EXIT_REQUEUE
    except RespfmError as error:
        print(f"respfm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
