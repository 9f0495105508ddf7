"""A real SLURM on this machine, from Debian's packages: controller, node daemons and munge, in one private folder.

`python tests/cluster/slurm_cluster.py start FOLDER` starts one for trying out the profile, and prints the variables to
set; `stop FOLDER` ends it. With `--bare` it has no accounting. It needs root, since node daemons start jobs as other
users.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import slurm_accounting

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
CPU_NODES = ("cpu1", "cpu2")
GPU_NODE = "gpu1"  # SLURM counts its GPUs, but they do not exist
NODES = (*CPU_NODES, GPU_NODE)
# The nodes claim more than this machine has, so that the profile's own requests fit; in fact jobs share two cores.
NODE = "CPUs=32 RealMemory=128000 State=UNKNOWN"

# The profile unchanged: states by `sacct`, the user's default account. The other options only make it faster.
DEFAULTS = (
    *("--profile", "slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
    *("--max-status-checks-per-second", "1", "--max-jobs-per-timespan", "60/5s", "--jobs", "6"),
)
# Needed too without accounting, and harmless with it.
HOW = (*DEFAULTS, "--slurm-status-command", "squeue", "--slurm-no-account")

CONFIGURATION = """\
ClusterName=nearid_test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=5
MinJobAge=300
EnforcePartLimits=ALL
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
TaskProlog={root}/bin/task_prolog
TaskEpilog={root}/bin/task_epilog
{accounting}{nodes}
PartitionName=cpu Nodes={cpu_nodes} Default=YES MaxTime=2880 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes={cpu_nodes} MaxTime=2880 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=2
PartitionName=short Nodes={cpu_nodes} MaxTime=10 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=gpu1 MaxTime=2880 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=whole Nodes={cpu_nodes} MaxTime=2880 State=UP PriorityTier=10 PreemptMode=OFF OverSubscribe=EXCLUSIVE
PartitionName=lean Nodes={cpu_nodes} MaxTime=2880 State=UP PriorityTier=10 PreemptMode=OFF MaxMemPerCPU=1000
"""


class Cluster:
    """A cluster with its state in `root`; a context manager that starts and stops it.

    Args:
        root: an empty folder, or the folder of a stopped cluster.
        accounting: whether it has a database of jobs, accounts and limits.
        leashed: whether its daemons end with this process, even if it is killed.
    """

    def __init__(self, root: Path, accounting: bool = False, leashed: bool = True) -> None:
        self.root = root.resolve()
        self.accounting, self._leashed = accounting, leashed
        self.programs = self.root / "bin"
        self.variables = {
            "SLURM_CONF": str(self.root / "slurm.conf"),
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "NEARID_DEVICE": "cpu",  # the GPUs do not exist
        }

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all daemons, and wait until all nodes are idle."""
        for folder in (self.root, self.programs, self.root / "state", *(self.root / "spool" / name for name in NODES)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        (self.root / "munge.key").write_bytes(os.urandom(1024))
        (self.root / "munge.key").chmod(0o400)
        host = socket.gethostname()
        controller_port, daemon_port, self._database_port, *ports = _free_ports(3 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {NODE}"
            + (" Gres=gpu:a100:4" if name == GPU_NODE else "")
            for name, port in zip(NODES, ports, strict=True)
        )
        for number in range(4):
            device = self.root / f"nvidia{number}"
            if not device.exists():
                os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # another /dev/null
        gpus = f"NodeName={GPU_NODE} Name=gpu Type=a100 File={self.root}/nvidia[0-3] Flags=nvidia_gpu_env\n"
        (self.root / "gres.conf").write_text(gpus)
        accounting = slurm_accounting.CONFIGURATION.format(root=self.root, daemon_port=daemon_port)
        (self.root / "slurm.conf").write_text(
            CONFIGURATION.format(
                accounting=accounting if self.accounting else "",
                host=host,
                controller_port=controller_port,
                root=self.root,
                nodes=nodes,
                cpu_nodes=",".join(CPU_NODES),
            )
        )
        # Snakemake removes SLURM's variables in its job step, among them the one by which this cluster is found.
        srun = f'#!/bin/sh\nSLURM_CONF={self.variables["SLURM_CONF"]} exec {_program("srun")} "$@"\n'
        self.plant("srun", srun)
        # Programs that a node runs before and after each task; a test may replace them.
        for name in ("task_prolog", "task_epilog"):
            self.plant(name, "#!/bin/sh\n")
        files = {name: str(self.root / f"munge.{name}") for name in ("pid", "log", "seed")}
        options = ["--foreground", "--force", f"--socket={self.root}/munge.socket", f"--key-file={self.root}/munge.key"]
        options += [f"--pid-file={files['pid']}", f"--log-file={files['log']}", f"--seed-file={files['seed']}"]
        self._launch("munge", [_program("munged"), *options])
        self.wait("munge's socket", (self.root / "munge.socket").exists)
        if self.accounting:
            slurm_accounting.write_files(self.root, daemon_port, self._database_port)
            self._start_database()
            self.start_accounting()
            for order in slurm_accounting.ASSOCIATIONS:
                self.account(*order)
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        self.wait("idle nodes", lambda: set(self.node_states().values()) == {"idle"})

    def _start_database(self) -> None:
        made = self.root / "database"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        command = slurm_accounting.installation(_program("mariadb-install-db"), self.root)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"no database could be made:\n{done.stdout}{done.stderr}")
        self._launch("database", slurm_accounting.database(_program("mariadbd"), self.root, self._database_port))
        self.wait("the database", lambda: _answers(self._database_port))

    def start_accounting(self) -> None:
        """Start the accounting daemon, as after a restart of its machine."""
        self._launch("accounting", [_program("slurmdbd"), "-D"])
        ask = ("sacctmgr", "--noheader", "show", "cluster")
        self.wait("an answer of the accounting", lambda: not self.run(*ask, check=False).returncode)

    def account(self, *order: str) -> None:
        """Change accounts, users or limits, as an administrator would; existing ones are no error."""
        done = self.run("sacctmgr", "--immediate", *order, check=False)
        said = done.stdout + done.stderr
        if done.returncode and "Nothing new added" not in said and "already" not in said:
            raise RuntimeError(f"sacctmgr {' '.join(order)}: {said}")

    def start_controller(self) -> None:
        """Start the controller, as after a restart of its machine."""
        self._launch("controller", [_program("slurmctld"), "-D", "-f", self.variables["SLURM_CONF"]])
        self.wait("an answer of the controller", lambda: not self.run("scontrol", "ping", check=False).returncode)

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self._launch(name, [_program("slurmd"), "-D", "-N", name, "-f", self.variables["SLURM_CONF"]])

    def plant(self, name: str, script: str) -> None:
        """Put a program first in PATH."""
        private = self.programs / f"{name}.new"
        private.write_text(script)
        private.chmod(0o755)
        private.rename(self.programs / name)

    def configure(self, old: str, new: str) -> None:
        """Change a line of slurm.conf, as an administrator would, and make SLURM read it."""
        file = self.root / "slurm.conf"
        text = file.read_text()
        if old not in text:
            raise ValueError(f"{old} is not in {file}")
        file.write_text(text.replace(old, new))
        self.run("scontrol", "reconfigure")

    def kill(self, name: str) -> None:
        """SIGKILL a daemon: `controller`, `accounting`, `database`, `munge` or a node."""
        pid, started = json.loads((self.root / f"{name}.process").read_text())
        # The id may belong to another process by now.
        if _started(pid) == started:
            os.kill(pid, signal.SIGKILL)
            self.wait(f"the end of {name}", lambda: _started(pid) != started)
        (self.root / f"{name}.process").unlink()

    def stop(self) -> None:
        """End all jobs, then all daemons."""
        self.clear()
        for name in (*NODES, "controller", "accounting", "database", "munge"):
            if (self.root / f"{name}.process").exists():
                self.kill(name)

    def clear(self) -> None:
        """End all jobs."""
        jobs = self.run("squeue", "--noheader", "--format=%A", check=False).stdout.split()
        if jobs:
            self.run("scancel", *jobs, check=False)
            self.run("scancel", "--full", "--signal=KILL", *jobs, check=False)
            self.wait_for_jobs(60)

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a client command of SLURM against this cluster."""
        environment = {**os.environ, **self.variables}
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, check=check, timeout=60
        )

    def node_states(self) -> dict[str, str]:
        """State of each node, e.g. {"cpu1": "idle"}."""
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %t", check=False).stdout.splitlines()
        return dict(line.split() for line in lines)

    def running(self) -> dict[str, str]:
        """Comment (rule and wildcards) of each running job, by its id."""
        lines = self.run("squeue", "--noheader", "--states=RUNNING", "--format=%A|%k", check=False).stdout.splitlines()
        return dict(line.split("|", 1) for line in lines)

    def submit(self, *options: str) -> str:
        """Submit a job; returns its id."""
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options).stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """The controller's record of a job."""
        words = self.run("scontrol", "show", "job", job).stdout.split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait_for_jobs(self, seconds: float = 600) -> None:
        """Wait until no job is waiting or running."""
        self.wait("empty queue", lambda: not self.run("squeue", "--noheader", check=False).stdout.strip(), seconds)

    def _launch(self, name: str, command: list[str]) -> None:
        if self._leashed:
            command = [_program("setpriv"), "--pdeathsig", "KILL", *command]
        with (self.root / f"{name}.out").open("a") as said:
            process = subprocess.Popen(
                command, stdout=said, stderr=said, start_new_session=True, env={**os.environ, **self.variables}
            )
        (self.root / f"{name}.process").write_text(json.dumps([process.pid, _started(process.pid)]))

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for a condition with a limit in seconds, which is extended when the machine is loaded."""
        spent, before = 0.0, time.monotonic()
        while not condition():
            if spent > seconds:
                logs = [*self.root.glob("*.log"), *self.root.glob("*.out")]
                ends = "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in logs)
                raise TimeoutError(f"no {what} after {seconds} s; nodes {self.node_states()}\n{ends}")
            time.sleep(0.2)
            now = time.monotonic()
            spent += (now - before) / max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
            before = now


def full_log(project: Path) -> str:
    """Snakemake's own log of a project's last run; the terminal shows a line per stage."""
    return max((project / ".snakemake/log").glob("*.log")).read_text()


def submissions(project: Path) -> int:
    """How many jobs a project's last run submitted."""
    return full_log(project).count("has been submitted with SLURM jobid")


def missing_programs() -> list[str]:
    """The programs of `PROGRAMS` that are not installed (Debian: slurmctld slurmd slurm-client munge)."""
    return [name for name in PROGRAMS if _find(name) is None]


def missing_accounting() -> list[str]:
    """The programs for accounting that are not installed (Debian: slurmdbd mariadb-server-core mariadb-client-core)."""
    return [name for name in slurm_accounting.PROGRAMS if _find(name) is None]


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _program(name: str) -> str:
    found = _find(name)
    if found is None:
        raise FileNotFoundError(f"{name}: install slurmctld slurmd slurm-client munge")
    return found


def _started(pid: int) -> str | None:
    """Start time of a process, in clock ticks since boot; None if it does not exist or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    """Different ports on which nobody listens, outside the range that the kernel uses for outgoing connections."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.SystemRandom().sample(range(10_000, max(lowest, 20_000)), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports between 10,000 and those of outgoing connections")


if __name__ == "__main__":
    cluster = Cluster(Path(sys.argv[2]), accounting="--bare" not in sys.argv, leashed=False)
    if sys.argv[1] == "start":
        cluster.start()
        print("\n".join(f"export {name}={value}" for name, value in cluster.variables.items()))
    else:
        cluster.stop()
