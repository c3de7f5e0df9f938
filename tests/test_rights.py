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


LOOKING = [
    ["show", "top_locations"], ["query", "TABLE users"], ["rejects"], ["runs"], ["plan", "DATA"],
    ["report", "--output", "PAGE"], ["prune", "--older-than", "1d"],
]  # fmt: skip
RUNS = [["reload", "DATA"], ["load", "DATA"], ["verify", "DATA"], ["rejects", "replay"]]


@pytest.mark.every(10)
@pytest.mark.parametrize("may", ["", "USAGE"], ids=["nothing", "usage"])
@pytest.mark.parametrize("command", [*LOOKING, *RUNS], ids=" ".join)
def test_a_role_without_rights_is_told_the_statements_that_give_them(
    closed: str, tree: Tree, command: list[str], may: str
) -> None:
    """In every command; once they are run it works."""
    tree.logs("a.json", event())
    grant(closed)
    sparkify_bulk.reload(tree.root, dsn=of(closed, ROLES[0]))
    role = "sparkify_analyst"
    query(closed, f"REVOKE ALL ON ALL TABLES IN SCHEMA sparkify FROM {role}")
    query(closed, f"REVOKE ALL ON SCHEMA sparkify FROM {role}")
    if may:
        query(closed, f"GRANT USAGE ON SCHEMA sparkify, sparkify_ledger TO {role}")
    named = {"DATA": str(tree.root), "PAGE": str(tree.root / "page.html")}
    words = [named.get(word, word) for word in command]

    def invoke() -> BaseException | None:
        arguments = [*words, "--dsn", of(closed, role)]
        return CliRunner().invoke(cli.cli, arguments, standalone_mode=False).exception

    error = invoke()
    assert isinstance(error, DatabaseError)
    assert "not enough rights" in error.message
    assert "docs/rights.md" in error.hint
    statements = [line for line in error.hint.splitlines() if line.endswith(";")]
    assert any(line.startswith("GRANT") for line in statements)
    for statement in statements:
        query(closed, statement)
    assert invoke() is None


def test_who_may_not_enter_the_database_is_told_the_grant(closed: str) -> None:
    """The server refuses before anything could be asked."""
    grant(closed)
    name = closed.rpartition("dbname=")[2]
    query(closed, f"REVOKE CONNECT ON DATABASE {name} FROM sparkify_analyst")
    arguments = ["runs", "--dsn", of(closed, ROLES[1])]
    error = CliRunner().invoke(cli.cli, arguments, standalone_mode=False).exception
    assert isinstance(error, DatabaseError)
    assert f'GRANT CONNECT ON DATABASE "{name}" TO "sparkify_analyst";' in error.hint


def test_who_may_read_some_columns_reads_them(closed: str, tree: Tree) -> None:
    """What is asked of others is refused, with the statement that would allow it."""
    tree.logs("a.json", event())
    grant(closed)
    sparkify_bulk.reload(tree.root, dsn=of(closed, ROLES[0]))
    query(closed, "REVOKE SELECT ON sparkify.users FROM sparkify_analyst")
    query(closed, "GRANT SELECT (user_id, level) ON sparkify.users TO sparkify_analyst")

    def ask(text: str) -> BaseException | None:
        arguments = ["query", text, "--dsn", of(closed, ROLES[1])]
        return CliRunner().invoke(cli.cli, arguments, standalone_mode=False).exception

    assert ask("SELECT user_id, level FROM users") is None
    assert ask("TABLE songplays") is None
    refused = ask("TABLE users")
    assert isinstance(refused, DatabaseError)
    assert refused.hint.endswith("\nGRANT SELECT ON sparkify.users TO sparkify_analyst;")


def test_the_roles_can_nothing_besides(closed: str, tree: Tree) -> None:
    """No attribute, no membership, and no right but those named, also on what runs have made."""
    tree.songs("a.json", song())
    tree.logs("a.json", event(1))
    grant(closed)
    loader = of(closed, ROLES[0])
    sparkify_bulk.reload(tree.root, dsn=loader)
    sparkify_bulk.load(tree.root, dsn=loader)
    extra = """SELECT rolname FROM pg_roles WHERE rolname LIKE 'sparkify\\_%' AND (rolsuper
        OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"""
    assert query(closed, extra) == []
    members = """SELECT roleid::regrole, member::regrole FROM pg_auth_members
        WHERE roleid::regrole::text || member::regrole::text LIKE '%sparkify%'"""
    assert query(closed, members) == []
    role = "FROM unnest(%s::text[]) AS role"
    on_database = f"""SELECT role, can {role}, unnest('{{CREATE,CONNECT,TEMPORARY}}'::text[]) AS can
        WHERE has_database_privilege(role, current_database(), can)"""
    assert set(query(closed, on_database, [list(ROLES)])) == {
        ("sparkify_loader", "CONNECT"),
        ("sparkify_loader", "TEMPORARY"),
        ("sparkify_analyst", "CONNECT"),
    }
    on_schemas = f"""SELECT role, nspname, can {role}, pg_namespace,
        unnest('{{CREATE,USAGE}}'::text[]) AS can
        WHERE nspname !~ '^pg_|^information_schema$' AND has_schema_privilege(role, oid, can)"""
    own = ("sparkify", "sparkify_build", "sparkify_ledger", "sparkify_staging")
    assert set(query(closed, on_schemas, [list(ROLES)])) == {
        ("sparkify_analyst", "sparkify", "USAGE"),
        *(("sparkify_loader", name, can) for name in own for can in ("CREATE", "USAGE")),
    }
    on_tables = """SELECT DISTINCT grantee::regrole::text, privilege_type
        FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'sparkify'::regnamespace
        AND grantee <> relowner"""
    assert query(closed, on_tables) == [("sparkify_analyst", "SELECT")]
