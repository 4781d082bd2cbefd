"""Start a run: in this process, under torchrun, or under srun; log and signals pass through."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from respfm.errors import RespfmError
from respfm.files import write_json
from respfm.jobs import slurm
from respfm.jobs.interruption import EXIT_REQUEUE, Interrupted, on_signals


def launch(spec: dict[str, Any], processes: int = 1, nodes: int = 1, cores: int = 1) -> None:
    """Train as `spec` says (see respfm.pretrain.run) with `processes` ranks on each of `nodes` machines.

    The spec is kept as spec.json in its outdir. In a Slurm job the ranks are tasks of srun with `cores` cores a node,
    and a run that was stopped in time puts its job back into the queue; several machines need one. Exits with status
    75 if the run was stopped on request and saved. Raises RespfmError if it failed.
    """
    path = Path(spec["outdir"]) / "spec.json"
    write_json(path, spec)
    if slurm.job():
        ranks = ["-m", "respfm.pretrain", "--spec", path, "--processes", processes, "--nodes", nodes]
        status = _run([*slurm.one_task_per_node(nodes, cores), sys.executable, *map(str, ranks)], signal.SIGUSR1)
        if status == EXIT_REQUEUE:
            slurm.requeue()
    elif nodes > 1:
        raise RespfmError(f"{nodes} machines were asked for, which needs a Slurm job; see docs/clusters.md")
    elif processes > 1:
        status = torchrun(path, processes)
    else:
        status = train_here(spec)
    if status == EXIT_REQUEUE:
        raise SystemExit(EXIT_REQUEUE)
    if status:
        raise RespfmError(
            f"pre-training with {nodes * processes} ranks failed (exit status {status}); the log above says why"
        )


def train_here(spec: dict[str, Any]) -> int:
    """Train in this process, alone or as a rank of torchrun; exit status 75 if it was stopped and saved, else 0."""
    from respfm.pretrain.run import train

    try:
        train(spec)
    except Interrupted as stop:
        print(f"respfm: {stop}", file=sys.stderr)
        return EXIT_REQUEUE
    return 0


def torchrun(spec: Path, processes: int, nodes: int = 1) -> int:
    """Exit status of `processes` ranks on this machine, one of `nodes`; 75 if a signal asked them to stop.

    They have as long as they need to save; it is the scheduler's time limit that ends them.
    """
    meeting = ["--standalone"]
    if nodes > 1:
        address = f"--rdzv-endpoint={slurm.rendezvous()}"
        meeting = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-id={slurm.job()}", address]
    options = [*meeting, f"--nproc-per-node={processes}", "--shutdown-timeout=86400"]
    program = ["-m", "respfm.pretrain", "--spec", str(spec)]
    return _run([sys.executable, "-m", "torch.distributed.run", *options, *program], signal.SIGTERM)


def _run(command: list[str], request: signal.Signals) -> int:
    """Exit status of `command`, which gets `request` for each signal that asks this process to stop.

    75 if it was asked and did not end well: torchrun forgets the status of its ranks.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    stopped = False

    def pass_on() -> None:
        nonlocal stopped
        stopped = True
        process.send_signal(request)

    with on_signals(pass_on):
        for line in process.stdout or ():
            sys.stderr.write(line)
        status = process.wait()
    return EXIT_REQUEUE if stopped and status else status
