"""What a job must do for itself under Slurm: tasks that get its signals, a place to meet, a return to the queue.

Where Slurm tracks processes by cgroup, only the direct tasks of a job's steps get a signal before the job is killed.
A trainer below Snakemake and a shell would never learn that its time limit is near.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from respfm.errors import RespfmError

JOB_PREFIX = "respfm_"


def job() -> str | None:
    """The id of the Slurm job that this process belongs to, None outside of Slurm or without srun."""
    return os.environ.get("SLURM_JOB_ID") if shutil.which("srun") else None


def one_task_per_node(nodes: int, cores: int) -> list[str]:
    """The srun command that starts what follows it once on each of `nodes` nodes, with the job's memory and GPUs."""
    shape = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}"]
    # The cores that this process is bound to are not those of the new task.
    return ["env", "--unset=SLURM_CPU_BIND", "srun", "--overlap", "--mem=0", *shape]


def rendezvous() -> str:
    """host:port where the nodes of this step find each other; the same on all of them."""
    nodes = ["scontrol", "show", "hostnames", os.environ["SLURM_STEP_NODELIST"]]
    first = subprocess.run(nodes, check=True, capture_output=True, text=True).stdout.split()[0]
    return f"{first}:{20000 + int(os.environ['SLURM_JOB_ID']) % 10000}"


def requeue(patience: float = 600.0) -> None:
    """Put this job back into the queue and wait, at most `patience` seconds, to be ended.

    Returns at once if the job is being ended anyway (cancelled, over its time limit) or may not be requeued.
    """
    job_id = os.environ["SLURM_JOB_ID"]
    state = subprocess.run(["squeue", "-h", "-o", "%T", "-j", job_id], capture_output=True, text=True).stdout.strip()
    if state == "RUNNING" and subprocess.run(["scontrol", "requeue", job_id]).returncode == 0:
        time.sleep(patience)


def refuse_beside_jobs(folder: Path) -> None:
    """Raise RespfmError if jobs that a Snakemake submitted in `folder` are in the queue.

    Snakemake does not know the jobs of another one. It would submit them again, and delete what they finish meanwhile.
    """
    if not shutil.which("squeue"):
        return
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A %j %Z"]
    jobs = [line.split(" ", 2) for line in subprocess.run(command, capture_output=True, text=True).stdout.splitlines()]
    mine = [
        number
        for number, name, place in jobs
        if name.startswith(JOB_PREFIX) and Path(place).resolve() == folder.resolve()
    ]
    if mine:
        raise RespfmError(
            f"Slurm jobs of another Snakemake in {folder} are still in the queue: {' '.join(mine)}. Wait until they "
            f"have ended, or end them with `scancel {' '.join(mine)}` (pre-training is saved first); then run again. "
            "What they finish is kept"
        )
