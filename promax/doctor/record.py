"""MLflow's database, runs left open, what waits for a server, Optuna's database."""

from __future__ import annotations

from collections.abc import Iterator

from promax.doctor.check import Check
from promax.paths import project_root


def store(uri: str | None) -> Iterator[Check]:
    """Whether the record can be read and written, without creating one; then the runs that are open in it."""
    from promax.tracking import examine, open_store, running

    health = examine(uri)
    if not health.found:
        yield Check("ok", "store", f"{health.label}: none yet; the first run creates it")
        return
    if health.schema != health.newest:
        says = f"{health.label}: its tables are of another MLflow ({health.schema}; this one's are {health.newest})"
        yield Check("problem", "store", says, "copy the database, then: mlflow db upgrade URI")
        return
    if health.refusal is not None:
        todo = "end what holds it, or change the file's owner or the address"
        yield Check("problem", "store", f"{health.label}: can't be written: {health.refusal}", todo)
        return
    told = "answers; whether it takes runs, the first one shows" if health.schema is None else "read and written"
    yield Check("ok", "store", f"{health.label}: {told}")
    found = running(open_store(uri))
    if found.dead:
        says = f"{len(found.dead)} left RUNNING by processes that died: {_names(found.dead)}"
        yield Check("warning", "runs", says, "the next `promax train` closes them as FAILED")
    if found.elsewhere:
        says = f"{len(found.elsewhere)} RUNNING on other machines: {_names(found.elsewhere)}"
        close = f"MlflowClient(URI).set_terminated({found.elsewhere[0]!r}, 'KILLED')"
        yield Check("ok", "runs", says, f"should its machine be gone, close it with MLflow: {close}")
    if found.alive or not (found.dead or found.elsewhere):
        yield Check("ok", "runs", f"{len(found.alive)} in progress")


def _names(runs: list[str]) -> str:
    return ", ".join(each[:8] for each in runs[:5]) + (", …" if len(runs) > 5 else "")


def unsent() -> Iterator[Check]:
    """What runs could not tell their server; where nothing waits, nothing is said."""
    from promax.tracking import waiting_runs

    if waiting := waiting_runs():
        runs = f"{len(waiting)} run{'s' * (len(waiting) > 1)}"
        servers = ", ".join(sorted({each.server for each in waiting}))
        says = f"{sum(each.writes for each in waiting)} writes of {runs} wait on disk for {servers}"
        yield Check("warning", "unsent", says, "once it is back: promax sync")


def sweeps() -> Iterator[Check]:
    """Whether Optuna can read the embedded database of sweeps."""
    file = project_root() / "mlruns" / "optuna.db"
    if not file.exists():
        yield Check("ok", "sweeps", f"{file}: none yet; the first sweep creates it")
        return
    from hydra_plugins.promax_sweeper._storage import Storage

    try:
        storage = Storage(f"sqlite:///{file}", heartbeat=60)
        count = len(storage.rdb.get_all_studies())
        storage.close()
    except Exception as error:  # each layer below has its own
        says = f"{file}: can't be read: {(str(error).splitlines() or [''])[0]}"
        yield Check("problem", "sweeps", says, "move it away: sweeps start anew, their runs stay in the record")
    else:
        yield Check("ok", "sweeps", f"{file}: {count} {'study' if count == 1 else 'studies'}")
