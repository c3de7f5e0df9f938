"""Least rights: what `schema --roles` grants is enough to load and to read, and no more."""

from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from trees import Tree, event, query, song

import sparkify_bulk
from sparkify_bulk import cli
from sparkify_bulk.errors import DatabaseError

ROLES = ("sparkify_loader", "sparkify_analyst")


@pytest.fixture
def closed(database: str) -> Iterator[str]:
    """Name a database in which nobody has any right, but who is granted it."""
    name = sql.Identifier(database.rpartition("dbname=")[2])
    query(database, sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    query(database, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield database
    for role in ROLES:
        query(database, f"DROP OWNED BY {role} CASCADE")
        query(database, f"DROP ROLE {role}")


def grant(database: str) -> None:
    """Run what the command prints."""
    printed = CliRunner().invoke(cli.cli, ["schema", "--roles"], standalone_mode=False)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(printed.stdout.encode())


def of(database: str, role: str) -> str:
    """Name the database as another role reaches it."""
    return database.replace("user=postgres", f"user={role}")


def test_the_documented_rights_are_enough_and_no_more(closed: str, tree: Tree) -> None:
    """One role runs every command, one reads the star before and after a reload, and no more."""
    tree.songs("a.json", song())
    tree.logs("a.json", event(1), {"page": "NextSong"})
    grant(closed)
    loader, analyst = of(closed, ROLES[0]), of(closed, ROLES[1])
    assert sparkify_bulk.reload(tree.root, dsn=loader).exit_code == 3
    assert query(analyst, "SELECT count(*) FROM sparkify.songplays") == [(1,)]
    tree.logs("b.json", event(2))
    assert sparkify_bulk.load(tree.root, dsn=loader).tables["songplays"].rows == 2
    assert sparkify_bulk.reload(tree.root, dsn=loader).exit_code == 3
    for command in (["verify", str(tree.root)], ["rejects"], ["runs"], ["show", "top_locations"],
                    ["plan", str(tree.root)]):  # fmt: skip
        done = CliRunner().invoke(cli.cli, [*command, "--dsn", loader], standalone_mode=False)
        assert done.exception is None, (command, done.output)
    assert query(analyst, "SELECT count(*) FROM sparkify.songplays") == [(2,)]
    done = CliRunner().invoke(
        cli.cli, ["show", "top_locations", "--dsn", analyst], standalone_mode=False
    )
    assert done.exception is None, done.output
    for refused in (
        "DELETE FROM sparkify.songplays",
        "SELECT raw FROM sparkify_ledger.rejects",
        "CREATE SCHEMA mine",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(analyst, refused)
    with pytest.raises(DatabaseError, match="not enough rights") as caught:
        sparkify_bulk.load(tree.root, dsn=analyst)
    assert "docs/rights.md" in (caught.value.hint or "")
