"""What checks look at and find, and how one of them is asked: it writes nothing."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

import psycopg

from sparkify_bulk import statements
from sparkify_bulk.database.connection import (
    Connection,
    message_of,
)
from sparkify_bulk.database.session import Session
from sparkify_bulk.database.transaction import set_locally, use_schemas
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.redaction import redact
from sparkify_bulk.settings import Schemas
from sparkify_bulk.source.batches import Kind

Status = Literal["ok", "warning", "failure", "not asked"]
# From good to bad: the worst is the diagnosis'.
_GRAVITY: tuple[Status, ...] = ("not asked", "ok", "warning", "failure")
_FAILED, _UNREACHABLE, _STALE = 1, 4, 7
# The check of how old the newest event is.
_AGE = "newest event"
_NAMED = 3
# Nothing that is looked at here is locked for long, unless something is wrong.
_LIMITS = {
    "transaction_read_only": "on",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        status: how it stands.
        found: what is so, in a line.
        hint: what to do about it, in one or more lines; empty if there is nothing to do.
        name: of the check.
        seconds: how long it took.
    """

    status: Status
    found: str
    hint: str = ""
    name: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings about a server, its database, its star, and the input.

    Attributes:
        target: the server and database, without any password.
        findings: one a check, in their order.
        reached: the server was reached, and was there to the end.
    """

    target: str
    findings: tuple[Finding, ...]
    reached: bool

    @property
    def worst(self) -> Status:
        """The worst status of all."""
        return max((finding.status for finding in self.findings), key=_GRAVITY.index)

    @property
    def exit_code(self) -> int:
        """What the command exits with."""
        failed = {finding.name for finding in self.findings if finding.status == "failure"}
        if not failed:
            return 0
        if not self.reached:
            return _UNREACHABLE
        return _STALE if failed == {_AGE} else _FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return it as what `--json` prints."""
        order = ("name", "status", "found", "hint", "seconds")
        documents = [asdict(finding) for finding in self.findings]
        checks = [{key: document[key] for key in order} for document in documents]
        return {"target": self.target, "worst": self.worst, "checks": checks}


class NotAskedError(Exception):
    """What a check needs isn't there, or isn't to be seen: says what."""


@dataclass(slots=True)
class Subject:
    """What is looked at, and what earlier checks learned of it.

    Attributes:
        dsn: connection string; None for libpq's environment, or the embedded server.
        schemas: the star's.
        songs, logs: the input folders; None where none is named.
        follow_links: as runs would be told to.
        max_age: how old the newest event may be; None for as old as it likes.
        target: what the connection leads to.
        connection: None until there is one.
        sizes: bytes of the input folders, as if nothing in them were compressed.
        partly: there are more files than were looked at.
    """

    dsn: str | None
    schemas: Schemas
    songs: str | None
    logs: str | None
    follow_links: bool
    max_age: timedelta | None
    target: str = ""
    connection: Session | None = None
    sizes: dict[Kind, int] = field(default_factory=dict)
    partly: bool = False

    @property
    def server(self) -> Session:
        """The connection.

        Raises:
            NotAskedError: there is none.
        """
        if self.connection is None:
            raise NotAskedError("the server was not reached")
        if self.connection.closed:
            raise NotAskedError("the connection was lost")
        return self.connection


def ask(subject: Subject, check: Callable[[Subject], Finding]) -> Finding:
    """Let one check look, and take what it finds, or why it couldn't."""
    begun = time.monotonic()
    try:
        with _looking(subject.connection):
            finding = check(subject)
    except NotAskedError as error:
        finding = Finding("not asked", str(error))
    except psycopg.errors.InsufficientPrivilege as error:
        finding = Finding("not asked", f"no permission: {message_of(error)}")
    except psycopg.Error as error:
        finding = Finding("failure", message_of(error), "see the server's log")
    except SparkifyBulkError as error:
        finding = Finding("failure", error.message, error.hint)
    return replace(
        finding,
        found=redact(finding.found),
        hint=redact(finding.hint),
        name=name_of(check),
        seconds=round(time.monotonic() - begun, 3),
    )


@contextlib.contextmanager
def _looking(connection: Connection | None) -> Iterator[None]:
    """Let one check look at the database in a transaction that can't change it."""
    if connection is None or connection.closed:
        yield
        return
    with connection.transaction():
        # Before any function is called: one in `public` with a closer signature would win.
        use_schemas(connection, "pg_catalog")
        set_locally(connection, _LIMITS)
        yield


def name_of(check: Callable[[Subject], Finding]) -> str:
    """Return what a check is called."""
    return check.__name__.replace("_", " ")


def rows(subject: Subject, name: str, **parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of one of the doctor's queries."""
    cursor = subject.server.execute(statements.read(f"doctor/{name}"), parameters or None)
    return cursor.fetchall()


def row(subject: Subject, query: Any) -> tuple[Any, ...]:  # noqa: ANN401 - LiteralString or SQL
    """Return the first row of a query."""
    return subject.server.execute(query).fetchone() or ()


def has_table(subject: Subject, schema: str, table: str) -> bool:
    """Let plain names mean a schema's tables, and tell whether it has one.

    Raises:
        NotAskedError: the role may not look into the schema.
    """
    visible = subject.server.execute(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s", (schema,)
    ).fetchone()
    if visible == (False,):
        raise NotAskedError(f"no USAGE right on the schema {schema}")
    use_schemas(subject.server, schema)
    found = subject.server.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return found == (True,)


def some(names: Sequence[str]) -> str:
    """Name the first few, and count the others."""
    others = len(names) - _NAMED
    named = ", ".join(names[:_NAMED])
    return named if others <= 0 else f"{named} and {others:,} more"
