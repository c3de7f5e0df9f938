"""Runs, files and rejects on record, in the target database."""

import getpass
import os
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.transaction import mark_table, use_schemas
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.report import Report
from sparkify_bulk.settings import Schemas
from sparkify_bulk.source.batches import Kind
from sparkify_bulk.source.manifest import Known
from sparkify_bulk.source.names import root_name


@dataclass(frozen=True, slots=True)
class OpenReject:
    """A rejected record that hasn't been resolved."""

    reject_id: int
    kind: Kind
    file: str
    offset: int
    raw: bytes

    def mended(self, raw: bytes) -> "OpenReject":
        """Return the reject with other bytes; what was exported and not touched is no mending."""
        untouched = raw == export_text(self.raw).encode()
        return self if untouched else replace(self, raw=raw)


def export_text(raw: bytes) -> str:
    """Return a reject's bytes as text for people and JSON; what isn't UTF-8 is escaped."""
    return raw.decode(errors="backslashreplace")


TABLES = ("runs", "roots", "files", "rejects", "vanished")
_INDEXES = ("files_by_name", "rejects_by_run")


def make_ledger(connection: Connection, names: Schemas) -> None:
    """Make the ledger's tables where they don't exist, each with a mark."""
    with connection.transaction():
        use_schemas(connection, names.ledger)
        for table in TABLES:
            if not exists(connection, table):
                connection.execute(statements.read(f"ledger/{table}"))
                mark_table(connection, sql.Identifier(names.ledger, table), names.mark("ledger"))
                if table == "files":
                    connection.execute(statements.read("ledger/files_identity"))
        for index in _INDEXES:
            connection.execute(statements.read(f"ledger/{index}"))


def refuse_other_version(connection: Connection, names: Schemas) -> None:
    """Refuse to work with a ledger whose tables lack columns of this version's.

    Raises:
        SparkifyBulkError: names them, and what to do.
    """
    parameters = {"star": names.ledger, "tables": list(TABLES)}
    with connection.transaction():
        use_schemas(connection, "pg_catalog")
        rows = connection.execute(statements.read("checks/columns"), parameters).fetchall()
    found = {table: columns for table, _, columns, _ in rows}
    if not {"run_id", "started_at", "command"} <= set(found.get("runs", ())):
        # None, or tables of somebody else's, which bear no mark.
        return
    lacking = [
        f"{table} lacks {column}"
        for table in TABLES
        for column in statements.columns(f"ledger/{table}")
        if table in found and column not in found[table]
    ]
    if lacking:
        raise SparkifyBulkError(
            f"the ledger in {names.ledger} was made by another version of sparkify-bulk: "
            f"{', '.join(lacking)}",
            hint="rename it, and rebuild star and ledger from the files:\n"
            f"ALTER SCHEMA {names.ledger} RENAME TO {names.ledger}_old;\n"
            "sparkify-bulk reload DATA",
        )


def record_roots(
    connection: Connection, schema: str, folders: Mapping[Kind, str]
) -> dict[Kind, int]:
    """Put input folders on record where they aren't yet; return their numbers.

    The lock must be held.
    """
    roots = {}
    with connection.transaction():
        use_schemas(connection, schema)
        for kind, folder in folders.items():
            root = {"root": root_name(folder)}
            connection.execute(statements.read("ledger/record_root"), root)
            (number,) = connection.execute(statements.read("ledger/root"), root).fetchone() or (0,)
            roots[kind] = int(number)
    return roots


def record_run(
    connection: Connection, schema: str, command: str, started_at: datetime, source: str
) -> int:
    """Put a run on record as running, and the dead ones as failed; return its number.

    The lock must be held: no run on record as running can be alive then.
    """
    with connection.transaction():
        use_schemas(connection, schema)
        row = connection.execute(
            statements.read("ledger/record_run"),
            {
                "command": command,
                "started_at": started_at,
                "input": source,
                "client_host": socket.gethostname(),
                "client_pid": os.getpid(),
                "client_user": _user(),
            },
        ).fetchone()
        (run_id,) = row or (0,)
        connection.execute(statements.read("ledger/abandon_runs"), {"run_id": run_id})
    return int(run_id)


def known_files(connection: Connection, schema: str, kind: Kind, folder: str) -> Iterator[Known]:
    """Yield the files of a kind and folder that the star is made of, in order of names' bytes."""
    parameters = {"kind": kind, "root": root_name(folder)}
    for row in _rows(connection, schema, "ledger/known_files", parameters):
        yield Known(row["file"], row["bytes"], row["modified_ns"], row["digest"])


def past_runs(connection: Connection, schema: str) -> list[tuple[int, float]]:
    """Return what the latest loads and reloads read, in bytes, and how many seconds they took."""
    rows = _rows(connection, schema, "ledger/past_runs", {})
    return [(row["bytes"], row["seconds"]) for row in rows]


def note_vanished(
    connection: Connection, schema: str, kind: Kind, root_id: int, files: Sequence[str]
) -> list[str]:
    """Note which files of a kind and folder are gone; return those not noted by an earlier run."""
    parameters = {"kind": kind, "root_id": root_id, "files": list(files)}
    with connection.transaction():
        use_schemas(connection, schema)
        connection.execute(statements.read("ledger/forget_vanished"), parameters)
        if not files:
            return []
        found = connection.execute(statements.read("ledger/note_vanished"), parameters)
        return [name for (name,) in found.fetchall()]


def forget_vanished(connection: Connection) -> None:
    """Forget which files were gone. The ledger's schema must be in sight."""
    connection.execute(statements.read("ledger/empty_vanished"))


def other_roots(connection: Connection, schema: str, kind: Kind, folder: str) -> list[str]:
    """Return the folders that a kind's files were read from, unless some were from this one."""
    parameters = {"kind": kind, "root": root_name(folder)}
    return [row["root"] for row in _rows(connection, schema, "ledger/other_roots", parameters)]


def was_published(connection: Connection, run_id: int) -> bool:
    """Tell whether a run's record was completed; the ledger's schema must be in sight."""
    row = connection.execute(statements.read("ledger/status"), {"run_id": run_id}).fetchone()
    return row is not None and str(row[0]).startswith("succeeded")


def keep_files(connection: Connection) -> None:
    """Move a run's files from staging, which must be in sight, to the ledger, in sight too."""
    connection.execute(statements.read("ledger/keep_files"))


def make_files(connection: Connection) -> None:
    """Make the table of files on record, without its key, in the schema in sight."""
    connection.execute(statements.read("ledger/files"))
    connection.execute(statements.read("ledger/files_identity"))


def complete_files(connection: Connection) -> int:
    """Give the table of files in sight its key; return how many there are."""
    connection.execute(statements.read("ledger/files_by_name"))
    connection.execute(statements.read("ledger/files_identity"))
    (files,) = connection.execute(statements.read("checks/files")).fetchone() or (0,)
    return int(files)


@dataclass(frozen=True, slots=True)
class Published:
    """The last run that published its data.

    Attributes:
        run_id: its number.
        started_at: when it began.
        rows: how many rows each table of the star had then.
        states: how the server described each table then; empty where that isn't known.
    """

    run_id: int
    started_at: datetime
    rows: dict[str, int]
    states: dict[str, str]


def last_published(connection: Connection) -> Published | None:
    """Return the last run that published its data; None if none is on record.

    The ledger's schema must be in sight.
    """
    if not exists(connection):
        return None
    row = connection.execute(statements.read("ledger/last_published")).fetchone()
    if row is None:
        return None
    run_id, started_at, report, states = row
    rows = {name: table["rows"] for name, table in report["tables"].items()}
    return Published(run_id, started_at, rows, states or {})


def note_states(connection: Connection, run_id: int, states: dict[str, str]) -> None:
    """Note how the star's tables are after a run. The ledger's schema must be in sight."""
    parameters = {"run_id": run_id, "states": Jsonb(states)}
    connection.execute(statements.read("ledger/note_states"), parameters)


def rows_of_last_run(connection: Connection, schema: str) -> dict[str, int]:
    """Return how many rows each table had after the last run; nothing where none is on record."""
    with connection.transaction():
        use_schemas(connection, schema)
        last = last_published(connection)
    return last.rows if last else {}


def keep_rejects(connection: Connection, run_id: int) -> int:
    """Move a run's rejects from staging, which must be in sight, to the ledger; count them."""
    moved = connection.execute(statements.read("ledger/keep_rejects"), {"run_id": run_id})
    return moved.rowcount


def carry_resolved(connection: Connection, run_id: int) -> None:
    """Let rejects of a load stay resolved that were resolved when their file was read before.

    The ledger's schema must be in sight, with the run's rejects, and without its files yet.
    """
    connection.execute(statements.read("ledger/carry_resolved"), {"run_id": run_id})


def complete_run(connection: Connection, run_id: int, report: Report, *, exit_code: int) -> None:
    """Complete a run's record. The ledger's schema must be in sight."""
    connection.execute(
        statements.read("ledger/complete_run"),
        {
            "run_id": run_id,
            "status": report.status,
            "exit_code": exit_code,
            "error": report.error,
            "report": Jsonb(report.to_dict(), dumps=lambda _: report.to_json().decode()),
        },
    )


def holder(connection: Connection, schema: str) -> str:
    """Say who holds the star, as far as the ledger knows."""
    try:
        with connection.transaction():
            use_schemas(connection, schema)
            row = connection.execute(statements.read("ledger/holder")).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        row = None
    if row is None:
        return "a run that is not recorded yet"
    run_id, command, started_at, host, pid, user = row
    since = f"{started_at:%Y-%m-%d %H:%M:%S %Z}"
    return f"run {run_id} ({command}, by {user} on {host}, pid {pid}, since {since})"


def each_run(connection: Connection, schema: str, limit: int) -> Generator[dict[str, Any]]:
    """Yield the latest runs, newest first."""
    return _rows(connection, schema, "ledger/list_runs", {"limit": limit})


def list_runs(connection: Connection, schema: str, limit: int) -> list[dict[str, Any]]:
    """Return the latest runs, newest first."""
    return list(each_run(connection, schema, limit))


def choose_run(connection: Connection, schema: str, run_id: int | None) -> dict[str, Any] | None:
    """Return the run whose rejects are meant: the last load or reload, where none is named.

    None if none is named and none has ended yet.

    Raises:
        UsageError: there is no such run.
    """
    found = list(_rows(connection, schema, "ledger/choose_run", {"run_id": run_id}))
    if not found and run_id is not None:
        raise UsageError(f"there is no run {run_id}", hint="sparkify-bulk runs lists the runs")
    return found[0] if found else None


def list_rejects(
    connection: Connection,
    schema: str,
    run_id: int | None,
    reason: str | None = None,
    file: str | None = None,
) -> Generator[dict[str, Any]]:
    """Yield the rejects of a run, in the order of their numbers."""
    parameters = {"run_id": run_id, "reason": reason, "file": file}
    return _rows(connection, schema, "ledger/list_rejects", parameters)


def open_rejects(connection: Connection, schema: str, run_id: int | None) -> Iterator[OpenReject]:
    """Yield the rejects that can be replayed: of one run, or of all."""
    for row in _rows(connection, schema, "ledger/open_rejects", {"run_id": run_id}):
        yield OpenReject(**row)


def resolve_rejects(connection: Connection, run_id: int, reject_ids: list[int]) -> None:
    """Mark rejects as resolved by a run. The ledger's schema must be in sight."""
    connection.execute(
        statements.read("ledger/resolve_rejects"), {"run_id": run_id, "reject_ids": reject_ids}
    )


def prune(connection: Connection, schema: str, before: datetime, *, dry: bool) -> tuple[int, int]:
    """Delete the runs that began before a moment, with their rejects; return how many of both.

    The last run that published its data stays, and what came after it.

    Args:
        connection: in autocommit mode.
        schema: the ledger's.
        before: the moment.
        dry: only count them.
    """
    with connection.transaction(force_rollback=dry):
        use_schemas(connection, schema)
        if not exists(connection):
            return 0, 0
        rejects = connection.execute(statements.read("ledger/prune_rejects"), {"before": before})
        runs = connection.execute(statements.read("ledger/prune_runs"), {"before": before})
        return runs.rowcount, rejects.rowcount


def _rows(
    connection: Connection, schema: str, statement: str, parameters: dict[str, Any]
) -> Generator[dict[str, Any]]:
    with connection.transaction():
        use_schemas(connection, schema)
        if not exists(connection):
            return
        # A server-side cursor: a run can have rejected millions.
        with connection.cursor(name="listing", row_factory=dict_row) as cursor:
            yield from cursor.execute(statements.read(statement), parameters)


def exists(connection: Connection, table: str = "runs") -> bool:
    """Tell whether there is a ledger, or one of its tables, in the schema in sight."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(row and row[0])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
