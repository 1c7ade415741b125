"""A Slurm of one's own for tests: munged, slurmctld and slurmd on this machine, in a temporary folder and on ports of their own.

    with PrivateSlurm(cpus=4) as slurm:
        job = slurm.sbatch("launch/sweep_smoke.sh", cwd=...)
        slurm.wait(job)
"""

import contextlib
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SOURCE = Path(os.environ["PSCALE_SOURCE"])
BIN = Path(os.environ["PSCALE_BIN"])
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel"]

CONF = """
ClusterName=pscale_test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0,bf_interval=2
RebootProgram=/bin/true
ReturnToService=2
JobRequeue=1
MailProg=/bin/true
MinJobAge=3600
KillWait=10
MpiDefault=none
FirstJobId={first}
{more}
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={slurmd_port} CPUs={cpus} State=UNKNOWN
{partitions}
"""
PARTITIONS = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP"


def missing():
    """Why it cannot run here, or an empty text."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if absent:
        return f"not installed: {', '.join(absent)} (launch/install_dependencies.sh --tests)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PrivateSlurm:
    """`more`: lines of slurm.conf, such as PreemptType; `partitions`: all of them. `node`: the name of the one node; mpirun
    starts ranks as its own children on a node that has the host's name, and through a daemon in a job step on another."""

    def __init__(self, cpus=4, more="", partitions=PARTITIONS, node="node"):
        self.node = node
        self.folder = Path(tempfile.mkdtemp(prefix="slurm_", dir="/tmp"))  # short: PMIx puts sockets below it
        self.processes = {}
        self.folder.chmod(0o755)
        for name in ("state", "spool", "pmix"):
            (self.folder / name).mkdir()
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(CONF.format(folder=self.folder, host=socket.gethostname(), ctld_port=free_port(),
                                         slurmd_port=free_port(), cpus=cpus,
                                         first=random.randrange(1, 60000000), node=node, more=more, partitions=partitions))
        (self.folder / "mpi.conf").write_text(f"PMIxCliTmpDirBase={self.folder}/pmix\n")
        self.environment = os.environ | {"SLURM_CONF": str(self.conf), "PATH": PATH}
        for name in [n for n in self.environment if n.startswith(("SLURM_", "SBATCH_")) and n != "SLURM_CONF"]:
            del self.environment[name]

    def __enter__(self):
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        socket_file = self.folder / "munge.socket"
        self.start("munged", "--foreground", "--force", f"--socket={socket_file}", f"--key-file={key}",
                   f"--pid-file={self.folder}/munge.pid", f"--log-file={self.folder}/munge.log",
                   f"--seed-file={self.folder}/munge.seed")
        self.until(socket_file.exists, 20, "munged made no socket")
        self.start("slurmctld", "-D", "-f", self.conf)
        self.start_node()
        self.until(lambda: "idle" in self.command("sinfo", "-h", "-o", "%t", check=False), 60, "the node did not come up")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.command("scancel", "--user=root", check=False)
            self.until(lambda: not self.command("squeue", "-h", check=False).strip(), 30, "")
        for name in ("slurmd", "slurmctld", "munged"):
            self.stop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, *arguments):
        """Also after stop(): a daemon that comes back."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen([shutil.which(name, path=PATH), *map(str, arguments)], stdout=out,
                                                    stderr=out, stdin=subprocess.DEVNULL, env=self.environment)

    def start_node(self):
        self.start("slurmd", "-D", "-N", self.node, "-f", self.conf)

    def stop(self, name, kill=False):
        process = self.processes.pop(name, None)
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def until(self, condition, seconds, what):
        end = time.monotonic() + seconds
        while not condition():
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not dead, f"{dead} ended\n{self.logs()}"
            assert time.monotonic() < end, f"{what} in {seconds} s\n{self.logs()}"
            time.sleep(0.2)

    def logs(self):
        tails = []
        for path in sorted(self.folder.glob("*.log")) + sorted(self.folder.glob("*.out")):
            lines = path.read_text(errors="replace").splitlines()[-20:]
            tails.append(f"== {path.name}\n" + "\n".join(lines))
        return "\n".join(tails)

    def command(self, *words, check=True, cwd=None, timeout=60, **variables):
        done = subprocess.run([str(w) for w in words], env=self.environment | variables, capture_output=True, text=True,
                              check=False, cwd=cwd, timeout=timeout, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def sbatch(self, *words, cwd=None, **variables):
        """The id of the job."""
        return int(re.search(r"job (\d+)", self.command("sbatch", *words, cwd=cwd, **variables))[1])

    def jobs(self, job):
        """What Slurm says of a job, or of each started or ended task of an array: fields of `scontrol show job`, by task (or None)."""
        shown = self.command("scontrol", "--oneliner", "show", "job", job, check=False)
        fields = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.splitlines() if "JobId=" in line]
        return {int(f["ArrayTaskId"]) if f.get("ArrayTaskId", "").isdigit() else None: f for f in fields}

    def start_requeued(self, job):
        """Starts a requeued job now; Slurm lets it wait for two minutes."""
        time.sleep(3)  # a node refuses a job that starts in the second of its end
        self.command("scontrol", "update", f"JobId={job}", "StartTime=now")

    def wait(self, job, seconds=600):
        """Waits for the end of a job or of all tasks of an array; their fields as jobs() gives them."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
        self.until(lambda: (j := self.jobs(job)) and all(f["JobState"] in ended for f in j.values()), seconds, f"job {job} did not end")
        return self.jobs(job)
