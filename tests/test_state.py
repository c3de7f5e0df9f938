"""The star and its ledger belong together, and the figures that are told of it are true."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import sql
from trees import MOMENT, Tree, event, query, read_star, song

import sparkify_bulk
from sparkify_bulk import ledger, pipeline
from sparkify_bulk.doctor import checks
from sparkify_bulk.doctor.findings import Finding
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.loading import state
from sparkify_bulk.settings import Settings


@pytest.fixture
def star(database: str, tree: Tree) -> str:
    """Make a star by a reload and a load: a song, three plays."""
    tree.songs("a.json", song())
    tree.logs("a.json", event(1), event(2))
    sparkify_bulk.reload(tree.root, dsn=database)
    tree.logs("b.json", event(3))
    sparkify_bulk.load(tree.root, dsn=database)
    return database


def record(dsn: str) -> Finding:
    """Return what the doctor finds of star and ledger."""
    found = checks.diagnose(dsn=dsn, schema="sparkify").findings
    return next(finding for finding in found if finding.name == "record")


def settings(dsn: str, tree: Tree) -> Settings:
    """Return the settings of a run."""
    return Settings(tree.song_folder, tree.log_folder, dsn=dsn)


def set_aside(dsn: str, schema: str) -> None:
    """Keep a copy of a schema's tables, as a dump would."""
    query(dsn, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(f"dump_of_{schema}")))
    for (table,) in query(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]):
        copy = sql.SQL("CREATE TABLE {} AS SELECT * FROM {}")
        names = sql.Identifier(f"dump_of_{schema}", table), sql.Identifier(schema, table)
        query(dsn, copy.format(*names))


def restore(dsn: str, schema: str) -> None:
    """Put the rows that were set aside back in the place of those that are there."""
    dump = f"dump_of_{schema}"
    tables = query(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = %s", [dump])
    names = [sql.Identifier(schema, table) for (table,) in tables]
    query(dsn, sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names)))
    order = ("artists", "songs", "users", "time", "songplays", "last_load", *ledger.TABLES)
    for table in order:
        if (table,) in tables:
            fill = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}")
            pair = sql.Identifier(schema, table), sql.Identifier(dump, table)
            query(dsn, fill.format(*pair))


# --- which run made the star ----------------------------------------------------------------------


def test_a_star_names_the_run_that_changed_it_last(star: str, tree: Tree) -> None:
    """Each run that publishes does, in the star itself; one that fails, or compares, doesn't."""
    made = "SELECT loaded_by_run FROM sparkify.last_load"
    assert query(star, made) == [(2,)]
    pipeline.verify(settings(star, tree))
    tree.logs("c.json", b"{broken")
    with pytest.raises(SparkifyBulkError):
        sparkify_bulk.load(tree.root, dsn=star, max_rejects=0)
    assert query(star, made) == [(2,)]
    assert sparkify_bulk.load(tree.root, dsn=star).run_id == 5
    assert query(star, made) == [(5,)]
    pipeline.replay(settings(star, tree))
    assert query(star, made) == [(6,)]
    sparkify_bulk.reload(tree.root, dsn=star)
    assert query(star, made) == [(7,)]
    assert record(star).found == "star and ledger agree: run 7, 3 plays"


@pytest.mark.every(2)
@pytest.mark.parametrize("schema", ["sparkify", "sparkify_ledger"])
def test_a_star_or_ledger_restored_from_an_older_dump_is_refused_until_a_reload(
    star: str, tree: Tree, schema: str
) -> None:
    """By load, plan and replay, naming both runs; the doctor says so; a reload mends it."""
    set_aside(star, schema)
    tree.logs("c.json", event(4))
    sparkify_bulk.load(tree.root, dsn=star)
    after = read_star(star)
    restore(star, schema)
    stories: Any = (
        lambda: sparkify_bulk.load(tree.root, dsn=star),
        lambda: pipeline.plan(settings(star, tree)),
        lambda: pipeline.replay(settings(star, tree)),
    )
    for story in stories:
        with pytest.raises(SparkifyBulkError, match="do not belong together") as caught:
            story()
        for run in ("run 2 of", "run 3 of"):
            assert run in caught.value.message
        assert "sparkify-bulk reload DATA" in caught.value.hint
    found = record(star)
    assert (found.status, "run 3 of" in found.found) == ("failure", True)
    sparkify_bulk.reload(tree.root, dsn=star)
    assert read_star(star) == after
    assert record(star).status == "ok"


LOST = {
    "DROP SCHEMA sparkify_ledger CASCADE": "the ledger has no run that made it",
    "DELETE FROM sparkify_ledger.runs": "the ledger has no run that made it",
    "DROP TABLE sparkify.last_load": "the star doesn't say which run changed it",
    "DELETE FROM sparkify.last_load": "the star doesn't say which run changed it",
    "UPDATE sparkify.last_load SET loaded_at = loaded_at - interval '1 day'": "run 2 of",
}


@pytest.mark.every(3)
@pytest.mark.parametrize("statement", LOST)
def test_a_star_without_its_ledger_or_its_run_is_refused_until_a_reload(
    star: str, tree: Tree, statement: str
) -> None:
    """A ledger that was lost, or a star put together by hand, however often it is tried."""
    before = read_star(star)
    query(star, statement)
    for _ in range(3):
        with pytest.raises(SparkifyBulkError, match="do not belong together") as caught:
            sparkify_bulk.load(tree.root, dsn=star)
        assert LOST[statement] in caught.value.message
    assert read_star(star) == before
    assert record(star).status == "failure"
    sparkify_bulk.reload(tree.root, dsn=star)
    assert read_star(star) == before
    assert sparkify_bulk.load(tree.root, dsn=star).tables["songplays"].rows == 3


def test_both_restored_from_one_dump_belong_together(star: str, tree: Tree) -> None:
    """Loads go on from there, and read what came since."""
    for schema in ("sparkify", "sparkify_ledger"):
        set_aside(star, schema)
    tree.logs("c.json", event(4))
    sparkify_bulk.load(tree.root, dsn=star)
    for schema in ("sparkify", "sparkify_ledger"):
        restore(star, schema)
    assert record(star).status == "ok"
    report = sparkify_bulk.load(tree.root, dsn=star)
    assert (report.input.events.files, report.tables["songplays"].rows) == (1, 4)


# --- true figures ---------------------------------------------------------------------------------

BY_HAND = {
    "DELETE FROM sparkify.songplays WHERE item_in_session = 3":
        "songplays has 2 rows, but had 3",
    "TRUNCATE sparkify.songplays": "songplays has 0 rows, but had 3",
    "INSERT INTO sparkify.users SELECT 8, first_name, last_name, gender, level, last_start_time,"
    " last_session_id, last_item_in_session FROM sparkify.users": "users has 2 rows, but had 1",
}  # fmt: skip


@pytest.mark.every(3)
@pytest.mark.parametrize("small", [0, 2**40])
@pytest.mark.parametrize("statement", BY_HAND)
def test_rows_changed_by_hand_are_told_and_counted(  # noqa: PLR0917
    star: str,
    tree: Tree,
    statement: str,
    small: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A load warns with both numbers, and reports those that are so; also of large tables."""
    monkeypatch.setattr(state, "_SMALL_TABLE_BYTES", small)
    query(star, statement)
    found = record(star)
    assert (found.status, BY_HAND[statement] in found.found) == ("warning", True)
    tree.logs("c.json", event(4))
    caplog.set_level(logging.WARNING)
    report = sparkify_bulk.load(tree.root, dsn=star)
    warned = [line for line in caplog.messages if "changed by hand after run 2" in line]
    assert len(warned) == 1
    assert BY_HAND[statement] in warned[0]
    counted = {
        name: query(
            star, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("sparkify", name))
        )
        for name in report.tables
    }
    assert {name: [(table.rows,)] for name, table in report.tables.items()} == counted
    caplog.clear()
    sparkify_bulk.load(tree.root, dsn=star)
    assert not [line for line in caplog.messages if "by hand" in line]
    assert record(star).status == "ok"


def test_a_large_table_that_nobody_has_changed_is_not_counted(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's number is taken: shown by one that is wrong, until a row comes or goes."""
    monkeypatch.setattr(state, "_SMALL_TABLE_BYTES", 0)
    sparkify_bulk.load(tree.root, dsn=star)
    query(
        star,
        """UPDATE sparkify_ledger.runs
        SET report = jsonb_set(report, '{tables,songplays,rows}', '1000')
        WHERE run_id = 3""",
    )
    assert sparkify_bulk.load(tree.root, dsn=star).tables["songplays"].rows == 1000
    query(star, "DELETE FROM sparkify.songplays WHERE item_in_session = 3")
    assert sparkify_bulk.load(tree.root, dsn=star).tables["songplays"].rows == 2


def test_the_newest_event_is_that_of_a_play_that_is_there(star: str, tree: Tree) -> None:
    """A moment whose plays are gone makes no star fresh, in runs as in the doctor."""
    query(star, "DELETE FROM sparkify.songplays WHERE item_in_session = 3")
    newest = datetime.fromtimestamp((MOMENT + 2) / 1000, UTC)
    assert sparkify_bulk.load(tree.root, dsn=star).newest_event == newest
    query(star, "TRUNCATE sparkify.songplays")
    assert sparkify_bulk.load(tree.root, dsn=star).newest_event is None
    found = checks.diagnose(dsn=star, schema="sparkify").findings
    assert [f.found for f in found if f.name == "newest event"] == ["the star holds no event"]
