"""Frames reach their staging tables, and batches stage themselves."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

import polars as pl
import psycopg
import pytest
from psycopg import sql
from trees import Tree, event, query

from sparkify_bulk import statements
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.errors import CountMismatchError
from sparkify_bulk.loading import copy, staging
from sparkify_bulk.loading.batches import Staged, stage_batch
from sparkify_bulk.loading.staging import Target, make_staging
from sparkify_bulk.loading.workers import Worker
from sparkify_bulk.source.batches import Batch
from sparkify_bulk.source.manifest import make_manifest
from sparkify_bulk.source.stores import open_store


@pytest.fixture
def target(connection: Connection) -> Target:
    """Make the staging tables of a run with two workers."""
    connection.execute("CREATE SCHEMA staging")
    made = Target("staging", run_id=7, workers=2, roots={"songs": 1, "events": 2})
    make_staging(connection, made)
    return made


def songplays(**columns: list[object]) -> pl.DataFrame:
    """Make a frame of songplays, as it is staged."""
    schema = {
        "start_time": pl.Datetime("us", "UTC"), "user_id": pl.Int64, "level": pl.String,
        "session_id": pl.Int64, "location": pl.String, "user_agent": pl.String,
        "item_in_session": pl.Int64, "event_song": pl.String, "event_artist": pl.String,
        "event_length": pl.Float64,
    }  # fmt: skip
    rows = len(next(iter(columns.values())))
    usual: dict[str, list[object]] = {
        "start_time": [datetime(2018, 11, 1, tzinfo=UTC)] * rows, "user_id": [1] * rows,
        "level": ["free"] * rows, "session_id": [1] * rows, "item_in_session": [1] * rows,
    }  # fmt: skip
    values = {name: (usual | columns).get(name, [None] * rows) for name in schema}
    return pl.DataFrame(values, schema=schema)


def test_every_value_arrives_as_it_was_sent(target: Target, connection: Connection) -> None:
    """Extreme numbers, odd text and NULL come out of the table as they went in."""
    texts = [None, "", "\\.", "\\N", "a\tb\nc\r", '"quoted"', "é 漢 😀 \u200b", "x" * 100_000]
    numbers = [-(2**63), 2**63 - 1, 0, 1, -1, 2, 3, 4]
    doubles = [0.1, -0.0, 1.7976931348623157e308, 5e-324, None, 1.5, 2.5, 277.15873]
    frame = songplays(location=texts, user_id=numbers, event_length=doubles)
    copy.send(connection, target.table("staged_songplays", 0), frame)
    connection.execute("SET datestyle = 'ISO'; SET timezone = 'UTC'")
    found = connection.execute("SELECT * FROM staging.staged_songplays_7_0").fetchall()
    assert sorted(found, key=repr) == sorted(frame.rows(), key=repr)


@pytest.mark.usefixtures("target")
def test_rows_the_server_drops_are_noticed(connection: Connection) -> None:
    """A COPY that leaves fewer rows than were sent is an error, though the server calls it done."""
    connection.execute(
        "CREATE FUNCTION staging.forget() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN IF NEW.user_id = 2 THEN RETURN NULL; END IF; RETURN NEW; END'"
    )
    connection.execute(
        "CREATE TRIGGER forget BEFORE INSERT ON staging.staged_songplays_7_0"
        " FOR EACH ROW EXECUTE FUNCTION staging.forget()"
    )
    table = sql.Identifier("staging", "staged_songplays_7_0")
    with pytest.raises(
        CountMismatchError, match=r"3 rows were sent to .*staged_songplays_7_0.* took 2"
    ):
        copy.send(connection, table, songplays(user_id=[1, 2, 3]))


def stage_over(dsn: str, batch: Batch, target: Target) -> Staged:
    """Stage a batch over a connection of one's own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return stage_batch(Worker(0, connection), batch, target)


def test_a_batch_is_staged_by_another_process(database: str, target: Target, tree: Tree) -> None:
    """A batch, its target and a server are all that a worker needs, wherever it runs."""
    tree.logs("day.json", event(userId="1"), event(2, userId="2"))
    (batch,) = make_manifest("events", open_store(tree.log_folder)).batches
    batch, copied = pickle.loads(pickle.dumps((batch, target)))
    # Spawned, so that nothing of this process is there but what was handed over.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        staged = pool.submit(stage_over, database, batch, copied).result().counts
    assert (staged.records, staged.accepted, staged.rows["staged_songplays"]) == (2, 2, 2)
    assert query(database, "SELECT count(*) FROM staging.staged_songplays_7_0") == [(2,)]


def test_a_batch_is_staged_whole_or_not_at_all(
    database: str, target: Target, tree: Tree, connection: Connection
) -> None:
    """A batch whose last table refuses its rows leaves nothing in the others."""
    tree.logs("day.json", event())
    (batch,) = make_manifest("events", open_store(tree.log_folder)).batches
    connection.execute("DROP TABLE staging.staged_files_7_0")
    with pytest.raises(psycopg.errors.UndefinedTable):
        stage_batch(Worker(0, connection), batch, target)
    assert query(database, "SELECT count(*) FROM staging.staged_songplays_7_0") == [(0,)]


def test_each_worker_has_staging_tables_of_its_own(
    database: str, connection: Connection, target: Target, tree: Tree
) -> None:
    """A batch goes to the tables of the worker that stages it, so that merges run side by side."""
    tree.logs("1.json", event(userId="1"))
    tree.logs("2.json", event(userId="2"))
    batches = make_manifest("events", open_store(tree.log_folder), batch_bytes=1).batches
    for worker, batch in enumerate(batches):
        stage_batch(Worker(worker, connection), batch, target)
    for worker in (0, 1):
        name = target.staging_table("staged_songplays", worker)
        assert query(database, f"SELECT user_id FROM staging.{name}") == [(worker + 1,)]


def test_staging_is_unlogged(target: Target, connection: Connection) -> None:
    """Every staging table is unlogged: what is in it isn't worth a log."""
    assert target.workers == 2
    kinds = connection.execute(
        "SELECT DISTINCT relpersistence::text FROM pg_class"
        " WHERE relnamespace = 'staging'::regnamespace AND relkind = 'r'"
    ).fetchall()
    assert kinds == [("u",)]
    assert len(statements.names("staging")) == len(staging.TABLES)
