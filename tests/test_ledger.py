"""Runs and rejects on record, read back."""

import datetime as dt

import pytest
from trees import Tree, event, query

import sparkify_bulk
from sparkify_bulk import ledger, pipeline
from sparkify_bulk.database.connection import connect
from sparkify_bulk.doctor import checks
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.statements import columns

BAD = b'{"page": "NextSong"}'


def test_a_database_without_a_ledger_has_no_runs(database: str) -> None:
    """Asking where nothing ever ran is no error: there is nothing to list."""
    with connect(database) as connection:
        assert ledger.list_runs(connection, "sparkify_ledger", 5) == []
        assert list(ledger.list_rejects(connection, "sparkify_ledger", None)) == []


@pytest.mark.parametrize("command", ["reload", "load"])
def test_runs_are_listed_newest_first_with_their_reports(
    database: str, tree: Tree, command: str
) -> None:
    """Each run is on record with what it was, how it ended and its whole report.

    Whatever the server's time zone and style of dates, the moments come with their zone.
    """
    tree.logs("a.json", event())
    for _ in range(2):
        getattr(sparkify_bulk, command)(logs=tree.log_folder, dsn=database)
    with connect(database) as connection:
        runs = ledger.list_runs(connection, "sparkify_ledger", 5)
        assert len(ledger.list_runs(connection, "sparkify_ledger", 1)) == 1
    assert [run["run_id"] for run in runs] == [2, 1]
    for run in runs:
        assert (run["command"], run["status"], run["exit_code"]) == (command, "succeeded", 0)
        assert run["report"]["run_id"] == run["run_id"]
        assert isinstance(run["started_at"], dt.datetime)
        assert run["started_at"] <= run["ended_at"]


def test_a_ledger_of_another_version_is_refused_with_what_to_do(database: str, tree: Tree) -> None:
    """Whatever the column that it lacks: by runs, plan and doctor; what the hint says mends it."""
    tree.logs("a.json", event())
    where = {"data": tree.root, "dsn": database}
    sparkify_bulk.reload(**where)
    settings = Settings(tree.song_folder, tree.log_folder, dsn=database)
    stories = (
        lambda: sparkify_bulk.load(**where),
        lambda: sparkify_bulk.reload(**where),
        lambda: pipeline.verify(settings),
        lambda: pipeline.plan(settings),
    )
    query(database, "ALTER TABLE sparkify_ledger.files DROP COLUMN root_id")
    query(database, "ALTER TABLE sparkify_ledger.runs DROP COLUMN table_states")
    for story in stories:
        with pytest.raises(SparkifyBulkError, match="another version") as caught:
            story()
        assert "runs lacks table_states, files lacks root_id" in caught.value.message
    _, statement, command = caught.value.hint.splitlines()
    assert command == "sparkify-bulk reload DATA"
    found = {one.name: one for one in checks.diagnose(dsn=database, schema="sparkify").findings}
    assert (found["record"].status, "another version" in found["record"].found) == ("failure", True)
    query(database, statement)
    sparkify_bulk.reload(**where)
    assert sparkify_bulk.load(**where).input.events.files_skipped == 1


def test_the_columns_of_a_statement_are_those_it_makes(database: str) -> None:
    """Of each table of the ledger."""
    with connect(database) as connection:
        connection.execute("CREATE SCHEMA sparkify_ledger")
        ledger.make_ledger(connection, schemas("sparkify"))
    made = query(
        database,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'sparkify_ledger'",
    )
    named = [(table, name) for table in ledger.TABLES for name in columns(f"ledger/{table}")]
    assert sorted(named) == sorted(made)


def test_rejects_of_the_last_run_or_of_a_named_one_are_listed(database: str, tree: Tree) -> None:
    """Without a number the last run's rejects are listed, with one that run's."""
    path = tree.logs("a.json", event(), BAD)
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database, max_shrink=1)
    path.write_bytes(b"\n\xff\0x")
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database, max_shrink=1)
    with connect(database) as connection:
        chosen = ledger.choose_run(connection, "sparkify_ledger", None) or {}
        (last,) = ledger.list_rejects(connection, "sparkify_ledger", chosen["run_id"])
        (first,) = ledger.list_rejects(connection, "sparkify_ledger", 1)
    assert (last["run_id"], last["line"], last["offset"], bytes(last["raw"])) == (
        2,
        2,
        1,
        b"\xff\0x",
    )
    assert (first["run_id"], first["column"], bytes(first["raw"])) == (1, "ts", BAD)
    assert first["file"] == "log_data/a.json"


def test_the_books_of_each_file_are_on_record(database: str, tree: Tree) -> None:
    """What a run read of each file is kept, as committed with its data."""
    tree.logs("a.json", event(), event(2, page="Home"), BAD)
    sparkify_bulk.reload(logs=tree.log_folder, dsn=database, max_shrink=1)
    kept = query(
        database,
        "SELECT file, records, accepted, filtered, rejected FROM sparkify_ledger.files",
    )
    assert kept == [("log_data/a.json", 3, 1, 1, 1)]


def test_the_record_of_a_completed_run_stays_as_it_is(database: str, tree: Tree) -> None:
    """A run that never heard that it was committed can't call itself failed afterwards."""
    tree.logs("a.json", event())
    report = sparkify_bulk.reload(logs=tree.log_folder, dsn=database, max_shrink=1)
    report.status = "failed"
    with connect(database) as connection:
        connection.execute("SET search_path = sparkify_ledger")
        ledger.complete_run(connection, report.run_id, report, exit_code=1)
        (run,) = ledger.list_runs(connection, "sparkify_ledger", 5)
    assert (run["status"], run["exit_code"]) == ("succeeded", 0)
