"""Mark what the product makes beside a star, and drop nothing but what bears the mark.

A mark is a comment that names the product, the star and the run. What else stands in the schemas
beside a star belongs to somebody else.
"""

import psycopg
from psycopg import sql

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.transaction import use_schemas
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.ledger import TABLES as LEDGER
from sparkify_bulk.loading.staging import TABLES as STAGED
from sparkify_bulk.settings import Schemas
from sparkify_bulk.tables import NAMES

# No other names are the product's: a regular expression.
_NAMES = "^({}|({})_[0-9]+_[0-9]+)$".format("|".join((*NAMES, *LEDGER)), "|".join(STAGED))
_NAMED = 5
_MOVE = "move them to another schema, or name another star by --schema"
_RESTORED = (
    "if this is the star's ledger, restored without comments or in a schema that was renamed:"
)


def refuse_foreign(connection: Connection, names: Schemas) -> None:
    """Refuse to work where somebody else keeps something in the schemas beside a star.

    Raises:
        SparkifyBulkError: names what it is.
    """
    beside = [names.staging, names.build, names.ledger]
    parameters = _parameters(names, beside) | {"ledger": names.ledger, "tables": list(LEDGER)}
    with connection.transaction():
        use_schemas(connection, "pg_catalog")
        rows = connection.execute(statements.read("marks/foreign"), parameters).fetchall()
    if not rows:
        return
    found = [name for name, _ in rows]
    marking = [statement for _, statement in rows if statement]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise SparkifyBulkError(
        f"the ledger, staging or build schema of {names.star} holds objects that sparkify-bulk did "
        f"not make: {', '.join(found[:_NAMED])}{more}",
        hint="\n".join([_MOVE, *([_RESTORED] if marking else []), *marking]),
    )


def make_schema(connection: Connection, names: Schemas, name: str) -> None:
    """Make one of a star's schemas where it doesn't exist, and mark it unless it is the star's own.

    To ask first needs no right to make one.
    """
    with connection.transaction():
        # Operators are looked up by the path, too.
        use_schemas(connection, name)
        exists = connection.execute(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (name,)
        ).fetchone()
        if exists:
            return
        schema = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        if name != names.star:
            text = sql.Literal(names.mark(name.removeprefix(f"{names.star}_")))
            connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(schema, text))


def leftovers(connection: Connection, names: Schemas) -> list[tuple[str, str, int]]:
    """Return the tables of runs in staging and build: schema, name, size in bytes."""
    parameters = _parameters(names, [names.staging, names.build])
    return connection.execute(statements.read("marks/tables"), parameters).fetchall()


def drop_tables(connection: Connection, names: Schemas) -> None:
    """Drop the tables that runs left in staging and build; never what somebody else made.

    Raises:
        SparkifyBulkError: something of somebody else's depends on them: names it.
    """
    with connection.transaction():
        use_schemas(connection, "pg_catalog")
        tables = leftovers(connection, names)
    if not tables:
        return
    listed = sql.SQL(", ").join(sql.Identifier(schema, table) for schema, table, _ in tables)
    try:
        with connection.transaction():
            # Should a crash bring them back, the next run drops them again.
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(listed))
    except psycopg.errors.DependentObjectsStillExist as error:
        what = "; ".join((error.diag.message_detail or "").splitlines())
        raise SparkifyBulkError(
            f"stale staging or build tables of {names.star} can't be dropped: {what}",
            hint="drop the objects that depend on them, or make them use the star's own tables; "
            "then run again",
        ) from error


def _parameters(names: Schemas, schemas: list[str]) -> dict[str, object]:
    return {"schemas": schemas, "pattern": _NAMES, "mark": names.mark("")}
