"""The ranks of a run on one machine: `python -m respfm.pretrain --spec spec.json`, plain or under torchrun.

Exit status 75: stopped on request and saved, start again.
"""

import argparse
import sys
from pathlib import Path

from respfm.errors import RespfmError


def main() -> int:
    """Exit status of this rank, or of all that were started here."""
    from respfm.pretrain.launch import torchrun, train_here
    from respfm.pretrain.run import read_spec

    parser = argparse.ArgumentParser(prog="python -m respfm.pretrain", description="Train the ranks of this machine.")
    parser.add_argument("--spec", type=Path, required=True, help="JSON file that describes the run")
    parser.add_argument("--processes", type=int, default=1, help="ranks on this machine")
    parser.add_argument("--nodes", type=int, default=1, help="machines, all in one Slurm job")
    arguments = parser.parse_args()
    if arguments.processes * arguments.nodes > 1:
        return torchrun(arguments.spec, arguments.processes, arguments.nodes)
    try:
        return train_here(read_spec(arguments.spec))
    except RespfmError as error:
        print(f"respfm: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
