"""What stands beside a star, or in its place, and isn't the product's: it stays as it is."""

from collections.abc import Callable
from typing import Any

import pytest
from trees import Tree, event, query, read_star, song

import sparkify_bulk
from sparkify_bulk import ledger, pipeline
from sparkify_bulk.doctor import checks
from sparkify_bulk.doctor.findings import Finding
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.loading import state
from sparkify_bulk.settings import Settings

Story = Callable[[str, Tree], Any]


def reload(dsn: str, tree: Tree) -> Any:
    """Reload the star."""
    return sparkify_bulk.reload(tree.root, dsn=dsn)


def load(dsn: str, tree: Tree) -> Any:
    """Load into the star."""
    return sparkify_bulk.load(tree.root, dsn=dsn)


def verify(dsn: str, tree: Tree) -> Any:
    """Compare the star with its files."""
    return pipeline.verify(Settings(tree.song_folder, tree.log_folder, dsn=dsn))


def replay(dsn: str, tree: Tree) -> Any:
    """Load rejects again."""
    return pipeline.replay(Settings(tree.song_folder, tree.log_folder, dsn=dsn))


STORIES = (reload, load, verify, replay)


@pytest.fixture
def small(tree: Tree) -> Tree:
    """Write a song and a play."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    return tree


def finding(dsn: str, name: str) -> Finding:
    """Return what one check of the doctor's finds."""
    diagnosis = checks.diagnose(dsn=dsn, schema="sparkify")
    return next(finding for finding in diagnosis.findings if finding.name == name)


def objects(dsn: str) -> list[tuple[Any, ...]]:
    """Return all tables and views outside PostgreSQL's own schemas, with their OIDs."""
    return query(
        dsn,
        """SELECT oid, oid::regclass::text FROM pg_class
        WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
        ORDER BY pg_class.oid""",
    )


# --- beside the star ------------------------------------------------------------------------------

# What somebody may keep in a schema, and how the refusal names it.
FOREIGN = {
    "CREATE TABLE {}.keep (a integer)": "table {}.keep",
    "CREATE TABLE {}.users (a integer)": "table {}.users",
    "CREATE TABLE {}.staged_songs_1_0 (a integer)": "table {}.staged_songs_1_0",
    "CREATE TABLE {}.keep AS SELECT 1 AS a": "table {}.keep",
    "CREATE TABLE {}.keep (a integer) PARTITION BY LIST (a)": "table {}.keep",
    "CREATE VIEW {}.keep AS SELECT 1 AS a": "view {}.keep",
    "CREATE MATERIALIZED VIEW {}.keep AS SELECT 1 AS a": "materialized view {}.keep",
    "CREATE SEQUENCE {}.keep": "sequence {}.keep",
    "CREATE TYPE {}.keep AS ENUM ('a')": "type {}.keep",
    "CREATE FUNCTION {}.keep() RETURNS integer LANGUAGE sql RETURN 1": "function {}.keep()",
}


@pytest.mark.every(5)
@pytest.mark.parametrize("word", ["staging", "build", "ledger"])
@pytest.mark.parametrize("statement", FOREIGN)
def test_a_neighbouring_schema_that_holds_anything_else_is_refused_by_name(
    database: str, small: Tree, word: str, statement: str
) -> None:
    """Before anything is written or dropped, by every command that writes; the doctor says so."""
    schema = f"sparkify_{word}"
    query(database, f"CREATE SCHEMA {schema}")
    query(database, statement.format(schema))
    before = objects(database)
    named = FOREIGN[statement].format(schema)
    for story in STORIES:
        with pytest.raises(SparkifyBulkError, match="did not make") as caught:
            story(database, small)
        assert named in caught.value.message
        # Nobody is told to mark what a run would drop.
        assert caught.value.hint.startswith("move them")
        assert "COMMENT" not in caught.value.hint
    assert objects(database) == before
    found = finding(database, "neighbours")
    assert (found.status, named in found.found) == ("failure", True)
    assert finding(database, "leftovers").found == "none"


def test_a_star_that_stands_is_not_touched_when_a_neighbour_is_refused(
    database: str, small: Tree
) -> None:
    """Of a star that was loaded before, too; once the stranger is gone runs go on."""
    reload(database, small)
    query(database, "CREATE TABLE sparkify_staging.keep AS SELECT 7 AS a")
    query(database, "CREATE VIEW public.seen AS SELECT a FROM sparkify_staging.keep")
    before = objects(database)
    for story in STORIES:
        with pytest.raises(SparkifyBulkError, match=r"table sparkify_staging\.keep"):
            story(database, small)
    assert objects(database) == before
    assert query(database, "SELECT a FROM public.seen") == [(7,)]
    query(database, "ALTER TABLE sparkify_staging.keep SET SCHEMA public")
    for story in STORIES:
        story(database, small)
    assert query(database, "SELECT a FROM public.seen") == [(7,)]


def test_a_ledger_without_marks_is_taken_over_by_the_statements_named(
    database: str, small: Tree
) -> None:
    """As one restored without comments is; its sequences aren't named beside their tables."""
    reload(database, small)
    for table in ledger.TABLES:
        query(database, f"COMMENT ON TABLE sparkify_ledger.{table} IS NULL")
    with pytest.raises(SparkifyBulkError, match=r"table sparkify_ledger\.files") as caught:
        load(database, small)
    assert "sequence" not in caught.value.message
    for statement in caught.value.hint.splitlines()[2:]:
        query(database, statement)
    for story in STORIES:
        story(database, small)


def test_a_mark_of_another_star_is_no_mark(database: str, small: Tree) -> None:
    """A table that bears another star's mark is left alone, also one whose name begins alike."""
    reload(database, small)
    query(database, "CREATE TABLE sparkify_build.users (a integer)")
    mark = "made by sparkify_bulk for the star {}, run 1"
    for other in ("other", "sparkify2", "spark"):
        query(database, f"COMMENT ON TABLE sparkify_build.users IS '{mark.format(other)}'")
        with pytest.raises(SparkifyBulkError, match=r"table sparkify_build\.users"):
            load(database, small)
    query(database, f"COMMENT ON TABLE sparkify_build.users IS '{mark.format('sparkify')}'")
    load(database, small)
    assert query(database, "SELECT to_regclass('sparkify_build.users')") == [(None,)]


def test_a_view_of_what_a_dead_run_left_is_not_dropped(database: str, small: Tree) -> None:
    """A run that would have to drop it refuses, and names it; nothing is dropped."""
    reload(database, small)
    query(database, "CREATE TABLE sparkify_build.users (a integer)")
    mark = "made by sparkify_bulk for the star sparkify, run 1"
    query(database, f"COMMENT ON TABLE sparkify_build.users IS '{mark}'")
    query(database, "CREATE VIEW public.seen AS SELECT a FROM sparkify_build.users")
    before = objects(database)
    for story in STORIES:
        with pytest.raises(SparkifyBulkError, match="view seen depends on table") as caught:
            story(database, small)
        assert "drop the objects that depend on them" in caught.value.hint
    assert objects(database) == before
    query(database, "DROP VIEW public.seen")
    reload(database, small)
    assert finding(database, "leftovers").found == "none"


def test_what_runs_make_bears_a_mark_until_it_is_the_stars(database: str, small: Tree) -> None:
    """The ledger's tables and the schemas bear one; the star's tables have users' comments."""
    reload(database, small)
    query(database, "COMMENT ON TABLE sparkify.users IS 'ours'")
    query(database, "COMMENT ON TABLE sparkify_ledger.runs IS 'see the wiki; made by sparkify_bulk"
          " for the star sparkify, ledger'")  # fmt: skip
    load(database, small)
    reload(database, small)
    comments = """SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
        WHERE relnamespace = %s::regnamespace AND relkind = 'r' ORDER BY 1"""
    assert [row for row in query(database, comments, ["sparkify"]) if row[1]] == [
        ("last_load", "made by sparkify_bulk for the star sparkify, which run changed it last"),
        ("users", "ours"),
    ]
    mark = "made by sparkify_bulk for the star sparkify, ledger"
    assert query(database, comments, ["sparkify_ledger"]) == [
        (name, f"see the wiki; {mark}" if name == "runs" else mark)
        for name in sorted(ledger.TABLES)
    ]
    schemas = """SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace
        WHERE nspname LIKE 'sparkify%' ORDER BY 1"""
    assert query(database, schemas) == [
        ("sparkify", None),
        ("sparkify_build", "made by sparkify_bulk for the star sparkify, build"),
        ("sparkify_ledger", mark),
        ("sparkify_staging", "made by sparkify_bulk for the star sparkify, staging"),
    ]


# --- in the star's place --------------------------------------------------------------------------

HAND_MADE = {
    "CREATE TABLE sparkify.users (user_id varchar PRIMARY KEY, first_name varchar)":
        "users lacks last_name, gender, level",
    'CREATE TABLE sparkify."time" (start_time timestamp)': "time lacks hour",
    "CREATE VIEW sparkify.songs AS SELECT 1 AS a": "songs is a view",
    "CREATE MATERIALIZED VIEW sparkify.songs AS SELECT 1 AS a": "songs is a materialized view",
    "CREATE TABLE sparkify.artists (a integer) PARTITION BY LIST (a)":
        "artists is a partitioned table",
    "CREATE SEQUENCE sparkify.songplays": "songplays is a sequence",
    "CREATE TABLE sparkify.songplays ()": "songplays lacks songplay_id",
    # Just like a star's, column by column.
    """CREATE TABLE sparkify."time" (start_time timestamptz PRIMARY KEY, hour smallint,
        day smallint, week smallint, month smallint, year smallint, weekday smallint)""":
        "time stands there without a star",
    "CREATE TYPE sparkify.users AS ENUM ('a')": "type users",
    "CREATE SEQUENCE sparkify.songs_duration": "sequence songs_duration",
    "CREATE TABLE sparkify.mine (a integer CONSTRAINT users_pkey PRIMARY KEY)":
        "index users_pkey",
}  # fmt: skip


@pytest.mark.every(11)
@pytest.mark.parametrize("statement", HAND_MADE)
def test_tables_that_somebody_made_under_a_stars_names_stay(
    database: str, small: Tree, statement: str
) -> None:
    """Reload refuses as load does, names them and what to do, and drops nothing."""
    query(database, "CREATE SCHEMA sparkify")
    query(database, statement)
    before = {name for _, name in objects(database)}
    for story in STORIES:
        with pytest.raises(SparkifyBulkError, match="did not make") as caught:
            story(database, small)
        assert HAND_MADE[statement] in caught.value.message
        assert "ALTER SCHEMA sparkify RENAME TO sparkify_old" in caught.value.hint
        assert "drop" not in caught.value.hint.lower()
    assert before <= {name for _, name in objects(database)}
    assert HAND_MADE[statement] in finding(database, "star").found
    query(database, "ALTER SCHEMA sparkify RENAME TO sparkify_old")
    assert load(database, small).tables["songplays"].rows == 1


def test_the_names_that_a_star_needs_are_known(database: str, small: Tree) -> None:
    """Those of all that it makes beside its tables."""
    reload(database, small)
    made = query(
        database,
        "SELECT relname FROM pg_class WHERE relnamespace = 'sparkify'::regnamespace"
        " AND relkind IN ('i', 'S')",
    )
    assert sorted(name for (name,) in made) == sorted(state.INDEXES)


def test_a_column_that_was_added_is_not_lost(database: str, small: Tree) -> None:
    """Load and reload name it, and say how to keep it; without it they go on."""
    reload(database, small)
    query(database, "ALTER TABLE sparkify.users ADD COLUMN nick name")
    query(database, "UPDATE sparkify.users SET nick = 'Ada'")
    for story in (reload, load):
        with pytest.raises(SparkifyBulkError, match=r"added columns: users\.nick") as caught:
            story(database, small)
        drop = 'ALTER TABLE "sparkify"."users" DROP COLUMN "nick";'
        assert caught.value.hint.endswith(drop)
        assert "a table of your own" in caught.value.hint
    assert query(database, "SELECT nick FROM sparkify.users") == [("Ada",)]
    assert "users.nick" in finding(database, "star").found
    query(database, drop)
    load(database, small)
    reload(database, small)


ALTERED = {
    "ALTER TABLE sparkify.users ALTER COLUMN first_name TYPE varchar(3)":
        "users.first_name is character varying(3), not text",
    "ALTER TABLE sparkify.songplays ALTER COLUMN session_id TYPE numeric":
        "songplays.session_id is numeric, not bigint",
    "ALTER TABLE sparkify.songplays DROP CONSTRAINT songplays_natural_key":
        "songplays lacks its unique key (start_time, user_id, session_id, item_in_session)",
    "ALTER TABLE sparkify.songs DROP CONSTRAINT songs_pkey CASCADE":
        "songs lacks its unique key (song_id)",
    "DROP TABLE sparkify.songplays": "songplays is missing",
}  # fmt: skip


@pytest.mark.every(3)
@pytest.mark.parametrize("statement", ALTERED)
def test_an_altered_star_is_refused_by_load_and_made_anew_by_reload(
    database: str, small: Tree, statement: str
) -> None:
    """A column of another type, a key or a table that is gone: named, by the doctor too."""
    reload(database, small)
    star = read_star(database)
    query(database, statement)
    with pytest.raises(SparkifyBulkError, match="was altered") as caught:
        load(database, small)
    assert ALTERED[statement] in caught.value.message
    assert "reload" in caught.value.hint
    found = finding(database, "star")
    assert (found.status, ALTERED[statement] in found.found) == ("failure", True)
    sparkify_bulk.reload(small.root, dsn=database, drop_dependents="TYPE" in statement)
    assert read_star(database) == star
    assert finding(database, "star").status == "ok"
