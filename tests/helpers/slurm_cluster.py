"""A real Slurm on this machine: two virtual nodes with counterfeit GPUs, for the length of a `with` block.

Everything listens on the loopback only. The daemons are children of the test process in the foreground and are told
to end when it dies; what a crash leaves in /etc/slurm is recognised by its first line and replaced.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# Written by the tests of respfm; removed when they end."
NODES = ("c1", "c2")
PORT = 26817
KILL_WAIT = 4  # seconds between SIGTERM and SIGKILL
FREEZER = Path("/sys/fs/cgroup/freezer")
# As on a real cluster, where signals reach only the direct tasks of a step; otherwise they reach all its processes.
TRACKS_BY_CGROUP = os.access(FREEZER / "cgroup.procs", os.W_OK)


def why_not() -> str | None:
    """The reason why no cluster can be started here, if there is one."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "setpriv", "unshare") if not shutil.which(name)]
    if os.getuid():
        return "Slurm's daemons need root"
    if missing:
        return f"{', '.join(missing)} not found; apt-get install slurm-wlm munge (.ci/run does)"
    if _configured_by_others():
        return f"{ETC}/slurm.conf belongs to a Slurm of this machine"
    return None


def _configured_by_others() -> bool:
    conf = ETC / "slurm.conf"
    return conf.is_file() and not conf.read_text().startswith(MARK)


def wait_until(condition: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Look every 0.1 s until `condition()` is true; an AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what or condition}"
        time.sleep(0.1)


def ask(*command: str) -> str:
    """What a Slurm command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


class Cluster:
    """A running Slurm."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start munge, the controller and the nodes; wait until the nodes are idle."""
        for name in ("state", "spool", "munge", "gpu", *(f"spool/{node}" for node in NODES)):
            (self.home / name).mkdir(parents=True)
        for number in range(2):
            # A device of its own kind stands for a GPU: Slurm counts it and sets CUDA_VISIBLE_DEVICES.
            os.mknod(self.home / "gpu" / f"card{number}", 0o20666, os.makedev(1, 3))
        hosts = Path("/etc/hosts").read_text() + "".join(f"127.0.0.1 {node}\n" for node in NODES)
        (self.home / "hosts").write_text(hosts)
        key = self.home / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        ETC.mkdir(exist_ok=True)
        for name, text in self._configuration().items():
            (ETC / name).write_text(f"{MARK}\n{text}")

        munge = self.home / "munge"
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", f"--socket={munge / 'socket'}", *files)
        wait_until((munge / "socket").exists, 10, "munge")
        self._daemon("slurmctld", "-D")
        wait_until(lambda: "UP" in self._try("scontrol", "ping"), 20, f"slurmctld ({self.home}/slurmctld.log)")
        for node in NODES:
            # Each node has its own host name and can resolve the others'.
            inside = f"mount --bind {self.home}/hosts /etc/hosts && hostname {node} && exec slurmd -D -N {node}"
            self._daemon("unshare", "--uts", "--mount", "--propagation=private", "sh", "-c", inside)
        wait_until(lambda: self.nodes() == dict.fromkeys(NODES, "idle"), 30, f"idle nodes ({self.home}/*.log)")

    def stop(self) -> None:
        """Cancel all jobs, end the daemons and remove the configuration."""
        if self._try("scontrol", "ping"):
            self._try("scancel", "--user=root", "--full")
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not self._try("squeue", "-h", "-o", "%A"), 2 * KILL_WAIT)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for path in (ETC / name for name in self._configuration()):
            path.unlink(missing_ok=True)
        for node in NODES:
            for folder in sorted(FREEZER.glob(f"slurm_{node}/**/"), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _daemon(self, *command: str) -> None:
        log = open(self.home / f"{len(self.daemons)}.{command[0]}.log", "w")  # noqa: SIM115
        self.daemons.append(
            subprocess.Popen(
                ["setpriv", "--pdeathsig=TERM", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        )

    def _try(self, *command: str) -> str:
        try:
            return ask(*command)
        except subprocess.SubprocessError:
            return ""

    def _configuration(self) -> dict[str, str]:
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={socket.gethostname().partition('.')[0]} NodeAddr=127.0.0.1 "
            f"Port={PORT + 1 + number} CPUs=4 RealMemory=16000 Gres=gpu:2 State=UNKNOWN"
            for number, node in enumerate(NODES)
        )
        # SelectTypeParameters counts memory; OverMemoryKill ends who takes more. A requeued job may start again after
        # cred_expire, which has to outlast KillWait.
        slurm = f"""
ClusterName=tests
SlurmctldHost={socket.gethostname().partition(".")[0]}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={self.home}/munge/socket,cred_expire={KILL_WAIT + 6}
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={PORT}
StateSaveLocation={self.home}/state
SlurmdSpoolDir={self.home}/spool/%n
SlurmctldPidFile={self.home}/slurmctld.pid
SlurmdPidFile={self.home}/slurmd.%n.pid
SlurmctldLogFile={self.home}/slurmctld.log
SlurmdLogFile={self.home}/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none
SlurmdParameters=config_overrides
ProctrackType=proctrack/{"cgroup" if TRACKS_BY_CGROUP else "linuxproc"}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
JobRequeue=1
KillWait={KILL_WAIT}
CompleteWait=0
ReturnToService=2
MinJobAge=600
AccountingStorageType=accounting_storage/none
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=7-0
PartitionName=gpu Nodes=ALL MaxTime=7-0
"""
        # The memory cgroup is left alone: it would take the jobs out of the one that limits this container.
        constrain = "\n".join(f"Constrain{what}=no" for what in ("Cores", "RAMSpace", "SwapSpace", "Devices"))
        return {
            "slurm.conf": slurm,
            "gres.conf": f"AutoDetect=off\nName=gpu File={self.home}/gpu/card[0-1]\n",
            "cgroup.conf": f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={FREEZER.parent}\n{constrain}\n",
        }

    def nodes(self) -> dict[str, str]:
        """State of each node."""
        return dict(line.split() for line in self._try("sinfo", "-h", "-N", "-o", "%N %t").splitlines())

    def set_node(self, node: str, state: str) -> None:
        """Drain a node, or call it down."""
        ask("scontrol", "update", f"nodename={node}", f"state={state}", "reason=test")

    def resume(self, node: str) -> None:
        """Take a node back, unless it came back by itself."""
        self._try("scontrol", "update", f"nodename={node}", "state=resume")
        wait_until(lambda: self.nodes()[node] in ("idle", "mix"), 60, f"{node} in service")

    def jobs(self) -> list[dict[str, str]]:
        """All jobs, ended ones too: their fields as `scontrol show job` names them, by rising id."""
        text = self._try("scontrol", "show", "job", "--oneliner")
        found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines() if line.startswith("JobId=")]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def jobs_of(self, rule: str) -> list[dict[str, str]]:
        """All jobs of a rule."""
        return [job for job in self.jobs() if re.match(rf"rule_{rule}(_wildcards|$)", job.get("Comment", ""))]


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster of our own; a second test run on this machine waits for the first to end."""
    with open(Path(tempfile.gettempdir()) / "respfm-slurm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Unix sockets have short names, hence not below the folder of the test.
        home = Path(tempfile.mkdtemp(prefix="slurm"))
        home.chmod(0o755)
        made = Cluster(home)
        try:
            made.start()
            yield made
        finally:
            made.stop()
            shutil.rmtree(home)
