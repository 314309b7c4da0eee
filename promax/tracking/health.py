"""How a store stands, found out without changing or creating it."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow.store.db.utils import _get_latest_schema_revision
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from promax.config import ConfigError
from promax.tracking.address import kind_of, mask, sqlite_file
from promax.tracking.store import DATABASES, address_of, open_store

# Seconds to wait for a database that another process is writing to.
PATIENCE = 5


@dataclass(frozen=True)
class Health:
    """What is known of a store.

    `found` is False where there is none yet. `schema` is the revision of its tables and `newest` the one that this
    MLflow writes; both are None of a server, which looks after its own. `refusal` is why it can't be written to.
    """

    label: str
    found: bool
    schema: str | None = None
    newest: str | None = None
    refusal: str | None = None


def examine(uri: str | None = None) -> Health:
    """Look at the store at `uri`; None is the embedded one.

    Raises:
        ConfigError: an address of another kind, or a store that is there and can't be opened.
    """
    address = address_of(uri)
    kind, file = kind_of(address), sqlite_file(address)
    if kind not in DATABASES or (file is not None and not file.is_absolute()):
        # A server, which has nothing to create, or an address that is refused.
        return Health(open_store(uri).label, found=True)
    label = mask(address)
    if file is not None and not file.exists():
        return Health(label, found=False)
    engine = create_engine(
        address,
        connect_args={"timeout" if kind == "sqlite" else "connect_timeout": PATIENCE},
    )
    try:
        return _of_database(engine, label)
    except SQLAlchemyError as error:
        raise ConfigError(f"{label}: can't be opened: {_reason(error)}") from None
    finally:
        engine.dispose()


def _of_database(engine: Engine, label: str) -> Health:
    if not inspect(engine).has_table("alembic_version"):
        return Health(label, found=False)
    with engine.connect() as connection:
        schema = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        refusal = None
        try:
            # Changes no row, but needs the right to, and SQLite's lock for writing.
            connection.execute(text("UPDATE experiments SET name = name WHERE 1 = 0"))
        except SQLAlchemyError as error:
            refusal = _reason(error)
        connection.rollback()
    newest = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    return Health(label, True, str(schema), str(newest), refusal)


def _reason(error: SQLAlchemyError) -> str:
    """The driver's own words, without the statement and the link that SQLAlchemy adds."""
    return mask(str(getattr(error, "orig", None) or error)).strip().partition("\n")[0]
