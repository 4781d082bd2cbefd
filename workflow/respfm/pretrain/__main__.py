"""One rank of a run: `python -m respfm.pretrain --spec spec.json`, plain or under torchrun.

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
    """Exit status of one rank."""
    from respfm.pretrain.interruption import EXIT_REQUEUE, Interrupted

    parser = argparse.ArgumentParser(prog="python -m respfm.pretrain", description="Train one rank of a run.")
    parser.add_argument("--spec", type=Path, required=True, help="JSON file that describes the run")
    spec = json.loads(parser.parse_args().spec.read_text(encoding="utf-8"))
    try:
        train_from_spec(spec)
    except Interrupted as stop:
        print(f"respfm: {stop}", file=sys.stderr)
        return EXIT_REQUEUE
    except RespfmError as error:
        print(f"respfm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
