"""Find the rights that a role lacks, as the statements that give them."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence

import psycopg

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection, connect
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.errors import DatabaseError
from sparkify_bulk.settings import Schemas
from sparkify_bulk.tables import LAST_LOAD, NAMES

# Finds, in a connection of its own, the statements that give a role what it lacks.
Lacking = Callable[[Connection], list[str]]

_USAGE = re.compile(r"GRANT USAGE ON SCHEMA (\S+) TO")


def lacking_to_run(connection: Connection, names: Schemas) -> list[str]:
    """Return the statements that let the role load a star, run by an administrator."""
    schemas = [names.star, names.build, names.staging, names.ledger]
    parameters = {
        "star": names.star,
        "schemas": schemas,
        "tables": [*NAMES, LAST_LOAD.name],
        "mark": names.mark(""),
    }
    found = _ask(connection, names.star, "doctor/rights", parameters)
    if any(statement.startswith("CREATE SCHEMA") for statement in found):
        info = connection.info
        found.append(
            "-- or, in the place of CREATE SCHEMA: "
            f'GRANT CREATE ON DATABASE "{info.dbname}" TO "{info.user}";'
        )
    return found


def lacking_to_look(
    connection: Connection, schemas: Sequence[str], privileges: Sequence[str] = ("SELECT",)
) -> list[str]:
    """Return the statements that let the role use some schemas and all of their tables."""
    parameters = {"schemas": list(schemas), "privileges": list(privileges)}
    return _ask(connection, schemas[0], "checks/rights", parameters)


def require_usage(connection: Connection, schemas: Sequence[str], lacking: Lacking) -> None:
    """Refuse to look into a schema that the role may not use: it would seem to be empty.

    Raises:
        DatabaseError: names the statements that give the right.
    """
    found = lacking(connection) if schemas else []
    closed = [named[1] for given in found if (named := _USAGE.match(given))]
    if closed:
        raise DatabaseError(
            f"not enough rights: {connection.info.user} may not use the schema "
            f"{' or '.join(closed)}",
            hint=hint(found),
        )


def find_hint(dsn: str, lacking: Lacking) -> str:
    """Say what an administrator has to run; the connection that was refused may be of no use."""
    with contextlib.suppress(DatabaseError, psycopg.Error), connect(dsn) as connection:
        return hint(lacking(connection))
    return hint([])


def hint(found: Sequence[str]) -> str:
    """Say what an administrator has to run."""
    if not found:
        return "see docs/rights.md for the rights that each command needs"
    lines = "have an administrator run this in this database (see docs/rights.md):"
    return "\n".join([lines, *found])


def _ask(
    connection: Connection, schema: str, statement: str, parameters: Mapping[str, object]
) -> list[str]:
    with connection.transaction():
        use_schemas(connection, schema)
        rows = connection.execute(statements.read(statement), parameters).fetchall()
    return [given for _, given in rows]
