"""Start a run: in this process, or as several ranks under torchrun whose log and signals pass through."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from respfm.errors import RespfmError
from respfm.files import write_json


def launch(spec: dict[str, Any], processes: int = 1) -> None:
    """Train as `spec` says (see respfm.pretrain.__main__) with `processes` ranks on this machine.

    The spec is kept as spec.json in its outdir, for torchrun on several machines. Exits with status 75 if the run was
    stopped on request and its state saved. Raises RespfmError if it failed.
    """
    from respfm.pretrain.__main__ import train_from_spec
    from respfm.pretrain.interruption import EXIT_REQUEUE, Interrupted

    path = Path(spec["outdir"]) / "spec.json"
    write_json(path, spec)
    if processes == 1:
        try:
            train_from_spec(spec)
        except Interrupted as stop:
            print(f"respfm: {stop}", file=sys.stderr)
            raise SystemExit(EXIT_REQUEUE) from None
        return
    status, stopped = _torchrun(path, processes)
    if stopped:
        raise SystemExit(EXIT_REQUEUE)
    if status:
        raise RespfmError(f"pre-training with {processes} ranks failed (exit status {status}); the log above says why.")


def _torchrun(spec: Path, processes: int) -> tuple[int, bool]:
    """Exit status of torchrun, and whether a signal asked it to stop."""
    from respfm.pretrain.interruption import SIGNALS

    options = ["--standalone", f"--nproc-per-node={processes}", "-m", "respfm.pretrain", "--spec", str(spec)]
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    stopped = False

    def pass_on(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        process.send_signal(signal.SIGTERM)

    previous = {number: signal.signal(number, pass_on) for number in SIGNALS}
    try:
        for line in process.stdout:
            sys.stderr.write(line)
        return process.wait(), stopped
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
