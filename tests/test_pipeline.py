"""The story of a run: what it promises while it goes on, and how it fails."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from fault_ground import wait_until_somebody_waits
from psycopg import sql
from servers import LOCKED_ROLE, Server
from trees import Tree, event, query, read_star, song
from waiting import PATIENCE_SECONDS, wait_until

import sparkify_bulk
from sparkify_bulk import pipeline
from sparkify_bulk import run as run_module
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.database.server import libpq_environment
from sparkify_bulk.errors import (
    CountMismatchError,
    DatabaseError,
    RejectLimitError,
    ShrinkError,
    SparkifyBulkError,
    StarBusyError,
    UsageError,
)
from sparkify_bulk.extract.batch import extract
from sparkify_bulk.extract.counts import Extract
from sparkify_bulk.extract.records import decode_records
from sparkify_bulk.loading import batches, merge, staging
from sparkify_bulk.loading.context import Unwatched, Watch
from sparkify_bulk.report import Report
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.source.batches import Batch
from sparkify_bulk.tables import NAMES
from sparkify_bulk.transform import reductions

COMMANDS = ("reload", "load")
BAD = {"page": "NextSong"}


def run(command: str, *args: Any, **options: Any) -> Any:
    """Run `reload` or `load`."""
    return getattr(sparkify_bulk, command)(*args, **options)


@pytest.fixture
def star(database: str, tree: Tree) -> str:
    """Make a small star: one song, two plays."""
    tree.songs("a.json", song())
    tree.logs("a.json", event(1), event(2))
    sparkify_bulk.reload(tree.root, dsn=database)
    return database


def left_behind(dsn: str) -> list[str]:
    """Return the tables in the schemas that only runs use."""
    found = query(
        dsn,
        """SELECT schemaname || '.' || tablename FROM pg_tables
        WHERE schemaname IN ('sparkify_staging', 'sparkify_build')""",
    )
    return [name for (name,) in found]


def ledger(dsn: str) -> list[tuple[Any, ...]]:
    """Return each run's command, status and exit code."""
    return query(dsn, "SELECT command, status, exit_code FROM sparkify_ledger.runs ORDER BY run_id")


# --- readers ------------------------------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_readers_see_whole_stars_only(database: str, tree: Tree, command: str) -> None:
    """Whoever reads all tables in one statement during runs sees one run's star, whole."""
    shapes = set()
    count = sql.SQL("SELECT {}").format(
        sql.SQL(", ").join(
            sql.SQL("(SELECT count(*) FROM sparkify.{})").format(sql.Identifier(name))
            for name in NAMES
        )
    )
    tree.songs("0.json", song(0))
    tree.logs("0.json", event(0, userId="0", song="Title 0", artist="Artist 0", length=200.0))
    sparkify_bulk.reload(tree.root, dsn=database)
    whole = {query(database, count)[0]}
    failures: list[BaseException] = []

    def keep_running() -> None:
        try:
            for number in range(1, 7):
                tree.songs(f"{number}.json", song(number))
                tree.logs(
                    f"{number}.json",
                    event(number, userId=str(number)),
                    event(number + 100, userId=str(number)),
                )
                report = run(command, tree.root, dsn=database)
                whole.add(tuple(report.tables[name].rows for name in NAMES))
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)

    runner = threading.Thread(target=keep_running)
    runner.start()
    with psycopg.connect(database, autocommit=True) as reader:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while runner.is_alive():
            assert time.monotonic() < deadline, "the runs don't end"
            shapes.update(reader.execute(count).fetchall())
    runner.join(PATIENCE_SECONDS)
    assert not failures
    assert shapes <= whole
    assert len(whole) == 7


def test_an_autovacuum_gives_way_to_the_switch(
    database: str, server: Server, committed: Path
) -> None:
    """A reload doesn't wait for an autovacuum of the old star to end, which may take hours."""
    sparkify_bulk.reload(committed, dsn=database)
    # A page every tenth of a second: more than a minute for a table of 2,110 rows and its indexes.
    query(
        database,
        "ALTER TABLE sparkify.songplays SET (autovacuum_vacuum_insert_threshold = 0,"
        " autovacuum_vacuum_insert_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
    )
    server.execute(sql.SQL("ALTER SYSTEM SET autovacuum_naptime = '1s'"))
    server.execute(sql.SQL("SELECT pg_reload_conf()"))
    try:
        vacuums = (
            "SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = 'sparkify.songplays'::regclass"
        )
        wait_until(lambda: query(database, vacuums), "no autovacuum begins")
        report = sparkify_bulk.reload(committed, dsn=database, switch_patience=5.0)
    finally:
        server.execute(sql.SQL("ALTER SYSTEM RESET autovacuum_naptime"))
        server.execute(sql.SQL("SELECT pg_reload_conf()"))
    assert report.status == "succeeded"


# --- one run at a time ----------------------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_second_run_is_turned_away_and_told_by_whom(star: str, tree: Tree, command: str) -> None:
    """While a run holds the star, another ends with exit code 5, and says who holds it."""
    met: list[StarBusyError] = []

    class Meet(Unwatched):
        """Start a second run in the middle of the first."""

        def begin(self, phase: str, *, files: int = 0, bytes_: int = 0) -> None:
            """Wait for the first phase under the lock."""
            del files, bytes_
            if phase == "list files":
                with pytest.raises(StarBusyError) as caught:
                    run(command, tree.root, dsn=star)
                met.append(caught.value)

    report = pipeline.load(Settings(tree.song_folder, tree.log_folder, dsn=star), Meet())
    (error,) = met
    assert report.status == "succeeded"
    assert error.exit_code == 5
    assert f"run {report.run_id} (load" in error.message
    assert read_star(star)["songplays"]


LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sparkify_bulk sparkify', 0))"


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_waits_for_another_to_end(star: str, tree: Tree, command: str) -> None:
    """With --wait a second run begins as soon as the first lets the star go."""
    tree.logs("b.json", event(8))
    reports = []
    waiter = threading.Thread(
        target=lambda: reports.append(run(command, tree.root, dsn=star, wait=600))
    )
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with psycopg.connect(star) as holder:
        holder.execute(LOCK)
        waiter.start()
        wait_until(
            lambda: not waiter.is_alive() or query(star, waiting) != [(0,)], "it waits for nobody"
        )
        assert waiter.is_alive()
    waiter.join(PATIENCE_SECONDS)
    assert reports[0].status == "succeeded"
    assert query(star, "SELECT count(*) FROM sparkify.songplays") == [(3,)]


def test_a_run_that_waited_in_vain_says_for_whom(star: str, tree: Tree) -> None:
    """After that time it gives up with exit code 5, as without, and has changed nothing."""
    before = read_star(star, surrogate=True)
    with psycopg.connect(star) as holder:
        holder.execute(LOCK)
        with pytest.raises(StarBusyError, match=r"still after 0\.01 s"):
            sparkify_bulk.reload(tree.root, dsn=star, wait=0.01)
    assert read_star(star, surrogate=True) == before


def test_stars_of_other_schemas_are_not_locked(star: str, tree: Tree) -> None:
    """A run on one star doesn't hold up a run on another in the same database."""
    with psycopg.connect(star) as holder:
        holder.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('sparkify_bulk sparkify', 0))"
        )
        with pytest.raises(StarBusyError):
            sparkify_bulk.load(tree.root, dsn=star)
        assert sparkify_bulk.load(tree.root, dsn=star, schema="other").status == "succeeded"


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_dead_run_left_is_removed(star: str, tree: Tree, command: str) -> None:
    """The next run drops a dead run's staging and build tables, and marks it failed."""
    before = ledger(star)
    for statement in (
        "CREATE SCHEMA IF NOT EXISTS sparkify_build",
        "CREATE SCHEMA IF NOT EXISTS sparkify_staging",
        "CREATE TABLE sparkify_build.songplays (a int)",
        """COMMENT ON TABLE sparkify_build.songplays
        IS 'made by sparkify_bulk for the star sparkify, run 99'""",
        "CREATE UNLOGGED TABLE sparkify_staging.staged_songs_99_0 (a int)",
        """COMMENT ON TABLE sparkify_staging.staged_songs_99_0
        IS 'made by sparkify_bulk for the star sparkify, run 99'""",
        """INSERT INTO sparkify_ledger.runs
        (command, started_at, input, client_host, client_pid, client_user)
        VALUES ('load', now(), 'x', 'x', 1, 'x')""",
    ):
        query(star, statement)
    run(command, tree.root, dsn=star)
    assert left_behind(star) == []
    assert ledger(star) == [*before, ("load", "failed", 1), (command, "succeeded", 0)]


# --- failures leave the star as it was ----------------------------------------------------------


@pytest.mark.covering
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_more_rejects_than_allowed_end_the_run(
    star: str, tree: Tree, command: str, jobs: int
) -> None:
    """Past the limit the star stays untouched, and the rejects are on record."""
    before = read_star(star, surrogate=True)
    tree.logs("b.json", event(8), BAD, b"noise", event(9))
    with pytest.raises(RejectLimitError) as caught:
        run(command, tree.root, dsn=star, max_rejects=1, jobs=jobs)
    assert caught.value.exit_code == 6
    assert caught.value.report is not None
    assert caught.value.report.status == "failed"
    assert read_star(star, surrogate=True) == before
    assert ledger(star)[-1] == (command, "failed", 6)
    kept = query(
        star, 'SELECT file, line, reason, raw FROM sparkify_ledger.rejects ORDER BY "offset"'
    )
    assert kept == [
        ("log_data/b.json", 2, "missing_field", json.dumps(BAD).encode()),
        ("log_data/b.json", 3, "not_an_object", b"noise"),
    ]
    assert left_behind(star) == []


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_as_many_rejects_as_allowed_do_no_harm(star: str, tree: Tree, command: str) -> None:
    """At the limit the run succeeds, with rejects: exit code 3."""
    tree.logs("b.json", event(8), BAD, b"noise", event(9))
    report = run(command, tree.root, dsn=star, max_rejects=2)
    assert (report.status, report.exit_code) == ("succeeded_with_rejects", 3)
    assert report.rejects.by_reason == {"missing_field": 1, "not_an_object": 1}
    assert report.tables["songplays"].rows == 4
    assert ledger(star)[-1] == (command, "succeeded_with_rejects", 3)


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_limit_of_rejects_ends_a_batch_under_way(
    star: str, tree: Tree, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the limit a batch is read no further: the rejects until then are on record."""
    monkeypatch.setattr("sparkify_bulk.extract.salvage.SALVAGE_REJECTS", 20)
    before = read_star(star, surrogate=True)
    tree.logs("b.json", event(8), *[b"noise"] * 5000, event(9))
    with pytest.raises(RejectLimitError, match="20 records were rejected, 10 are allowed"):
        run(command, tree.root, dsn=star, max_rejects=10)
    assert query(star, "SELECT count(*) FROM sparkify_ledger.rejects") == [(20,)]
    assert read_star(star, surrogate=True) == before
    assert left_behind(star) == []


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_one_bad_record_in_an_array_is_one_reject(database: str, tree: Tree, command: str) -> None:
    """Of a thousand plays in an array on one line, the first one bad, all others load."""
    plays = json.dumps([event(item) for item in range(1000)]).replace('"free"', "free", 1)
    tree.logs("a.json", plays.encode())
    tree.songs("a.json", song())
    report = run(command, tree.root, dsn=database, max_rejects=1)
    assert (report.tables["songplays"].rows, report.rejects.count) == (999, 1)
    assert (report.exit_code, report.rejects.by_reason) == (3, {"malformed_json": 1})


@pytest.mark.covering
@pytest.mark.parametrize("where", ["between parts", "within a record"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_ends_a_batch_under_way(
    star: str, tree: Tree, command: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C doesn't wait for the end of a batch: workers end, and the lock is let go."""
    before = read_star(star, surrogate=True)
    begun = threading.Event()
    deadline = time.monotonic() + 60

    def endless(batch: Batch, *, record_by_record: bool = False) -> Iterator[Extract]:
        del record_by_record
        (part,) = extract(batch)
        assert part.rejects == []
        while time.monotonic() < deadline:
            begun.set()
            if where == "between parts":
                yield part
            else:
                list(decode_records(b"[" + b"{}," * 10_000))
        pytest.fail("nothing has ended the batch")

    def interrupt(main: int) -> None:
        if begun.wait(60):
            signal.pthread_kill(main, signal.SIGINT)

    monkeypatch.setattr("sparkify_bulk.loading.batches.extract", endless)
    tree.logs("b.json", event(8))
    thread = threading.Thread(target=interrupt, args=(threading.main_thread().ident,))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(command, tree.root, dsn=star)
    thread.join(60)
    assert time.monotonic() < deadline
    assert read_star(star, surrogate=True) == before
    assert left_behind(star) == []
    monkeypatch.undo()
    assert run(command, tree.root, dsn=star).status == "succeeded"


@pytest.fixture
def larger(database: str, tree: Tree) -> str:
    """Make a star of 5 songs, and 10 plays of 5 users."""
    for number in range(5):
        tree.songs(f"{number}.json", song(number))
    for item in range(10):
        tree.logs(f"{item}.json", event(item, userId=str(item % 5)))
    sparkify_bulk.reload(tree.root, dsn=database)
    return database


def shrunk(dsn: str, *args: Any, **options: Any) -> ShrinkError:
    """Let a reload be refused for what it would leave, and leave everything as before."""
    before = read_star(dsn, surrogate=True)
    with pytest.raises(ShrinkError, match="the star is untouched") as caught:
        sparkify_bulk.reload(*args, dsn=dsn, **options)
    assert caught.value.exit_code == 8
    assert "--max-shrink" in caught.value.hint
    assert caught.value.report is not None
    assert caught.value.report.status == "failed"
    assert read_star(dsn, surrogate=True) == before
    assert ledger(dsn)[-1] == ("reload", "failed", 8)
    assert left_behind(dsn) == []
    return caught.value


@pytest.mark.every(3)
@pytest.mark.parametrize(("kind", "table"), [("log_data", "songplays"), ("song_data", "songs")])
@pytest.mark.parametrize("how", ["empty", "hidden", "apart"])
def test_a_reload_without_any_file_of_a_kind_reads_nothing_and_leaves_the_star(
    larger: str, tree: Tree, kind: str, table: str, how: str
) -> None:
    """A folder that isn't mounted is empty; or only one kind was named, by --songs or --logs."""
    other = {"log_data": {"songs": tree.song_folder}, "song_data": {"logs": tree.log_folder}}[kind]
    folder = tree.root / kind
    if how == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "hidden":
        folder.rename(tree.root / ".hidden")
        folder.mkdir()
        (tree.root / ".hidden").rename(folder / ".hidden")
    arguments = {"data": tree.root} if how != "apart" else other
    error = shrunk(larger, **arguments)
    assert f"the star has {10 if table == 'songplays' else 5} {table}" in error.message
    assert error.report is not None
    assert error.report.input.songs.records + error.report.input.events.records == 0
    report = sparkify_bulk.reload(**arguments, dsn=larger, max_shrink=1)
    assert report.tables[table].rows == 0


@pytest.mark.every(2)
@pytest.mark.parametrize("page", ["nextSong", "NextSong ", "Home"])
def test_a_reload_whose_events_are_all_filtered_leaves_the_star(
    larger: str, tree: Tree, page: str
) -> None:
    """The message says how many were, and each table's rows before and after."""
    for item in range(10):
        tree.logs(f"{item}.json", event(item, userId=str(item % 5), page=page))
    error = shrunk(larger, tree.root)
    assert "songplays 10 → 0 rows" in error.message
    assert "users 5 → 0 rows" in error.message
    assert "time 10 → 0 rows" in error.message
    assert "10 of 10 events have another page" in error.message


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("share", "left", "refused"),
    [(0.2, 8, False), (0.2, 7, True), (0.3, 7, False), (0.29, 7, True), (0, 9, True),
     (0, 10, False), (0.9, 1, False), (1, 1, False)],
)  # fmt: skip
def test_a_star_may_shrink_by_the_share_and_no_more(
    larger: str, tree: Tree, share: float, left: int, refused: bool
) -> None:  # fmt: skip
    """As many rows less as the share allows go, one more doesn't."""
    for item in range(left, 10):
        (tree.log_folder / f"{item}.json").unlink()
    if refused:
        assert f"songplays 10 → {left} rows" in shrunk(larger, tree.root, max_shrink=share).message
    else:
        sparkify_bulk.reload(tree.root, dsn=larger, max_shrink=share)


def test_rows_removed_by_hand_are_not_missed(larger: str, tree: Tree) -> None:
    """The ledger and the statistics know of ten plays, but only those that are there count."""
    query(larger, "DELETE FROM sparkify.songplays WHERE item_in_session >= 2")
    query(larger, "DELETE FROM sparkify.users WHERE user_id >= 2")
    for item in range(2, 10):
        (tree.log_folder / f"{item}.json").unlink()
    assert sparkify_bulk.reload(tree.root, dsn=larger).tables["songplays"].rows == 2


def test_rows_of_a_star_restored_by_hand_are_counted(larger: str, tree: Tree) -> None:
    """Neither a ledger nor statistics know of them."""
    query(larger, "DROP SCHEMA sparkify_ledger CASCADE")
    for name in ("songs", "users", "songplays"):
        query(larger, f"CREATE TABLE sparkify.restored (LIKE sparkify.{name} INCLUDING ALL)")
        query(larger, f"INSERT INTO sparkify.restored SELECT * FROM sparkify.{name}")
        query(larger, f"DROP TABLE sparkify.{name} CASCADE")
        query(larger, f"ALTER TABLE sparkify.restored RENAME TO {name}")
    numbers = "ALTER SEQUENCE sparkify.restored_songplay_id_seq RENAME TO songplays_songplay_id_seq"
    query(larger, numbers)
    for item in range(5, 10):
        (tree.log_folder / f"{item}.json").unlink()
    # Its keys bear names of their own.
    refused = shrunk(larger, tree.root, drop_dependents=True)
    assert "songplays 10 → 5 rows" in refused.message


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("command", "name"),
    [
        *(("load", name) for name in (*staging.DATA_TABLES, "staged_rejects")),
        *(("reload", name) for name in ("staged_songs", "staged_users", "staged_rejects")),
    ],
)
def test_staging_that_was_emptied_is_noticed(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    """Rows that vanish between COPY and merge, as in a server's crash, fail the run."""
    tree.songs("b.json", song(2))
    tree.logs("b.json", event(8), BAD)
    before = read_star(star, surrogate=True)
    check = merge.check_staged

    def emptied(connection: Any, sent: dict[str, int]) -> None:
        if name in sent:
            (table,) = query(
                star,
                "SELECT tablename FROM pg_tables WHERE schemaname = 'sparkify_staging'"
                " AND tablename LIKE %s",
                (f"{name}%",),
            )[0]
            truncate = sql.SQL("DELETE FROM {}")
            query(star, truncate.format(sql.Identifier("sparkify_staging", table)))
        check(connection, sent)

    monkeypatch.setattr(merge, "check_staged", emptied)
    with pytest.raises(CountMismatchError, match=name):
        run(command, tree.root, dsn=star, jobs=1)
    assert read_star(star, surrogate=True) == before
    assert left_behind(star) == []
    assert ledger(star)[-1] == (command, "failed", 1)


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_rejects_that_are_not_all_on_record_fail_the_run(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Every record is accounted for, or nothing is published."""
    tree.logs("b.json", event(8), BAD)
    before = read_star(star, surrogate=True)
    monkeypatch.setattr("sparkify_bulk.ledger.keep_rejects", lambda *_: 0)
    with pytest.raises(CountMismatchError, match="1 records were rejected, but the ledger has 0"):
        run(command, tree.root, dsn=star)
    assert read_star(star, surrogate=True) == before


def test_plays_that_are_lost_where_they_are_given_songs_fail_the_run(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that is left to SQL."""
    before = read_star(star, surrogate=True)
    monkeypatch.setattr(reductions, "CREDITS_KEPT", 0)
    fill = merge.fill
    monkeypatch.setattr(merge, "fill", lambda c, name: fill(c, name) - (name == "songplays"))
    with pytest.raises(CountMismatchError, match="2 songplays were staged, 1 were merged"):
        sparkify_bulk.reload(tree.root, dsn=star, jobs=1)
    assert read_star(star, surrogate=True) == before


@pytest.mark.every(2)
@pytest.mark.parametrize("name", NAMES)
def test_a_new_star_that_lost_rows_is_not_published(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Rows that vanish from the new star before it is published fail the run."""
    before = read_star(star, surrogate=True)
    count = merge.count_rows

    def lossy(connection: Connection) -> dict[str, int]:
        rows = count(connection)
        return rows | {name: rows[name] - 1}

    monkeypatch.setattr(merge, "count_rows", lossy)
    with pytest.raises(CountMismatchError, match=f"rows were merged into {name}"):
        sparkify_bulk.reload(tree.root, dsn=star)
    assert read_star(star, surrogate=True) == before


def test_a_new_star_whose_files_are_not_on_record_is_not_published(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that vanish from the new ledger table fail the run: a load would read them again."""
    before = read_star(star, surrogate=True)
    monkeypatch.setattr("sparkify_bulk.ledger.complete_files", lambda _: 1)
    with pytest.raises(
        CountMismatchError, match="2 files were written to the ledger, but it has 1"
    ):
        sparkify_bulk.reload(tree.root, dsn=star)
    assert read_star(star, surrogate=True) == before


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_worker_that_fails_fails_the_run(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """An error in any worker ends the run, and leaves nothing behind."""
    tree.logs("b.json", event(8))
    before = read_star(star, surrogate=True)

    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batches, "extract", fail)
    with pytest.raises(ZeroDivisionError):
        run(command, tree.root, dsn=star)
    assert read_star(star, surrogate=True) == before
    assert left_behind(star) == []
    assert ledger(star)[-1] == (command, "failed", 1)


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_files_is_a_mistake(star: str, tree: Tree, command: str) -> None:
    """A reload of nothing doesn't empty the star: it is refused."""
    before = read_star(star)
    for path in tree.root.rglob("*.json"):
        path.unlink()
    with pytest.raises(UsageError, match="no song or log files"):
        run(command, tree.root, dsn=star)
    assert read_star(star) == before


def test_a_star_of_other_columns_is_not_merged_into(star: str, tree: Tree) -> None:
    """A load names the tables that aren't this version's, and touches nothing."""
    query(star, "ALTER TABLE sparkify.users RENAME COLUMN level TO tier")
    with pytest.raises(SparkifyBulkError, match="users"):
        sparkify_bulk.load(tree.root, dsn=star)


# --- dependents, rights, and what a reload carries over -------------------------------------------


def test_a_load_does_not_mind_what_a_reload_refuses(star: str, tree: Tree) -> None:
    """It merges into the tables that are there; the refused reload left nothing behind."""
    query(star, "CREATE MATERIALIZED VIEW public.top AS SELECT * FROM sparkify.songs")
    with pytest.raises(SparkifyBulkError, match=r"materialized view public\.top"):
        sparkify_bulk.reload(tree.root, dsn=star)
    assert left_behind(star) == []
    assert sparkify_bulk.load(tree.root, dsn=star).status == "succeeded"


def test_a_reload_drops_what_cannot_follow_where_it_is_told_to(
    star: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """And says what it drops."""
    query(star, "CREATE MATERIALIZED VIEW public.top AS SELECT * FROM sparkify.songs")
    query(star, "CREATE TABLE public.likes (song text REFERENCES sparkify.songs)")
    sparkify_bulk.reload(tree.root, dsn=star, drop_dependents=True)
    assert "materialized view public.top" in caplog.text
    assert query(star, "SELECT to_regclass('public.top')") == [(None,)]
    keys = "SELECT conname FROM pg_constraint WHERE conrelid = 'public.likes'::regclass"
    assert query(star, f"{keys} AND contype = 'f'") == []


def test_views_see_the_new_star_after_a_reload(server: Server, star: str, tree: Tree) -> None:
    """Views of the star, and views of views, with their rights, options and comments."""
    server.execute(
        sql.SQL("DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN END $$")
    )
    for statement in (
        """CREATE VIEW sparkify.top WITH (security_barrier) AS
            SELECT s.title, count(*) AS plays
            FROM sparkify.songplays AS p JOIN sparkify.songs AS s USING (song_id) GROUP BY 1""",
        'CREATE VIEW public."Top 1" AS SELECT * FROM sparkify.top ORDER BY plays LIMIT 1',
        """CREATE VIEW public.paid AS
            SELECT * FROM sparkify.users WHERE level = 'paid' WITH CHECK OPTION""",
        "CREATE MATERIALIZED VIEW public.far AS SELECT * FROM public.paid",
        "CREATE VIEW public.files AS SELECT file FROM sparkify_ledger.files",
        "GRANT SELECT ON sparkify.top TO reader",
        "COMMENT ON VIEW sparkify.top IS 'what they like'",
    ):
        query(star, statement)
    look = """
        SELECT oid, relname, relowner, relacl::text, reloptions, obj_description(oid, 'pg_class'),
            CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END
        FROM pg_class WHERE relname IN ('top', 'Top 1', 'paid', 'far', 'files') AND relkind <> 'r'
        ORDER BY relname"""
    before = query(star, look)
    assert len(before) == 5
    tree.logs("new.json", event(100), event(101, userId="90", level="paid"))
    sparkify_bulk.reload(tree.root, dsn=star)
    assert query(star, look) == before
    plays = query(star, "SELECT count(*) FROM sparkify.songplays WHERE song_id IS NOT NULL")
    assert query(star, "SELECT sum(plays) FROM sparkify.top") == plays
    assert query(star, "SELECT user_id FROM public.paid WHERE user_id = 90") == [(90,)]
    assert query(star, "SELECT file FROM public.files WHERE file LIKE '%new.json'")


def test_a_view_of_another_role_refuses_a_reload(server: Server, database: str, tree: Tree) -> None:
    """This role couldn't make it anew."""
    server.execute(
        sql.SQL("DO $$ BEGIN CREATE ROLE meek LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    )
    name = sql.Identifier(libpq_environment(database)["PGDATABASE"])
    query(database, sql.SQL("GRANT CREATE ON DATABASE {} TO meek").format(name))
    tree.logs("a.json", event())
    dsn = database.replace("user=postgres", "user=meek")
    sparkify_bulk.reload(dsn=dsn, logs=tree.log_folder)
    query(database, "CREATE VIEW public.top AS SELECT * FROM sparkify.songs")
    with pytest.raises(SparkifyBulkError, match=r"view public\.top, which belongs to postgres"):
        sparkify_bulk.reload(dsn=dsn, logs=tree.log_folder)


def test_a_reload_carries_rights_owner_and_comments_over(
    server: Server, star: str, tree: Tree
) -> None:
    """The new tables belong to whom the old ones did, with the same rights and comments."""
    for role in ("Keeper x", "reader"):
        server.execute(
            sql.SQL(
                "DO $$ BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object THEN END $$"
            ).format(sql.Identifier(role))
        )
    for statement in (
        "GRANT SELECT ON sparkify.songplays TO reader WITH GRANT OPTION",
        "GRANT SELECT, INSERT ON sparkify.time TO PUBLIC",
        "GRANT SELECT (user_id, level) ON sparkify.users TO reader",
        "COMMENT ON TABLE sparkify.users IS 'it''s 100%'",
        "COMMENT ON COLUMN sparkify.users.level IS 'free or \\paid'",
        'ALTER TABLE sparkify.songs OWNER TO "Keeper x"',
    ):
        query(star, statement)
    look = """
        SELECT c.relname, pg_get_userbyid(c.relowner), c.relacl::text,
            obj_description(c.oid, 'pg_class'),
            (SELECT array_agg((a.attname, a.attacl::text, col_description(c.oid, a.attnum))::text
             ORDER BY a.attnum)
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
        FROM pg_class c WHERE relnamespace = 'sparkify'::regnamespace AND relkind = 'r'
        ORDER BY relname"""
    before = query(star, look)
    oids = query(star, "SELECT 'sparkify.users'::regclass::oid")
    sparkify_bulk.reload(tree.root, dsn=star)
    assert query(star, "SELECT 'sparkify.users'::regclass::oid") != oids
    assert query(star, look) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_too_few_rights_are_said_so(
    server: Server, database: str, tree: Tree, command: str
) -> None:
    """A role that may not make schemas is told what it lacks, with exit code 4."""
    tree.logs("a.json", event())
    server.execute(
        sql.SQL("DO $$ BEGIN CREATE ROLE meek LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    )
    dsn = database.replace("user=postgres", "user=meek")
    with pytest.raises(DatabaseError, match="not enough rights") as caught:
        run(command, logs=tree.log_folder, dsn=dsn)
    assert caught.value.exit_code == 4
    assert "GRANT" in caught.value.hint


# --- what passes ---------------------------------------------------------------------------------


def test_a_run_that_begins_anew_waits_for_the_lock_of_the_one_before(
    database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may hold it until it has found out that its client is gone."""
    tree.logs("a.json", event())
    monkeypatch.setattr(pipeline, "_FIRST_PAUSE_SECONDS", 0)
    holder = psycopg.connect(database)
    key = "SELECT pg_advisory_xact_lock(hashtextextended('sparkify_bulk sparkify', 0))"
    open_run = pipeline.open_run
    begun = []

    def let_go() -> None:
        wait_until_somebody_waits(database)
        holder.close()

    def fail_first(command: str, settings: Settings, watch: Watch) -> Any:
        begun.append(settings)
        if len(begun) == 1:
            holder.execute(key)
            raise DatabaseError("the connection was lost", transient=True)
        threading.Thread(target=let_go).start()
        return open_run(command, settings, watch)

    monkeypatch.setattr(pipeline, "open_run", fail_first)
    assert sparkify_bulk.reload(logs=tree.log_folder, dsn=database).status == "succeeded"
    assert len(begun) == 2


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        (DatabaseError("x"), 1),
        (DatabaseError("x", unreachable=True), 1),
        (DatabaseError("x", transient=True), 3),
        (SparkifyBulkError("x"), 1),
    ],
)
def test_only_what_passes_is_tried_again(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, error: SparkifyBulkError, runs: int
) -> None:
    """As often as the settings say; a server that never answered isn't waited for."""
    begun = []

    def fail(*_: Any) -> Any:
        begun.append(1)
        raise error

    monkeypatch.setattr(pipeline, "_FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(pipeline, "open_run", fail)
    with pytest.raises(SparkifyBulkError):
        sparkify_bulk.reload(tree.root, retries=2)
    assert len(begun) == runs


def test_a_server_that_is_gone_after_it_failed_in_passing_is_waited_for(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answered at first: it restarts, or another takes its place."""
    gone = DatabaseError("no answer", unreachable=True)
    ends = iter([DatabaseError("it goes down", transient=True), gone, gone])
    report = Report("reload", datetime.now(UTC))

    def fail_at_first(*_: Any) -> Any:
        for error in ends:
            raise error
        return report

    monkeypatch.setattr(pipeline, "_FIRST_PAUSE_SECONDS", 0)
    story = pipeline._retried(fail_at_first)  # noqa: SLF001
    assert story(Settings(tree.song_folder, tree.log_folder, retries=3)) is report


@pytest.mark.parametrize(("end", "published"), [("commit", True), ("rollback", False)])
def test_a_commit_that_is_not_through_yet_is_waited_for(
    star: str, end: str, *, published: bool
) -> None:
    """Its server process may be at work still when the link is lost; its lock tells."""
    names = schemas("sparkify")
    asked = SimpleNamespace(dsn=star, schemas=names, run_id=1)
    query(star, "UPDATE sparkify_ledger.runs SET status = 'running'")
    answers = []
    with psycopg.connect(star) as committing:
        committing.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            run_module._lock_key(names),  # noqa: SLF001
        )
        committing.execute("UPDATE sparkify_ledger.runs SET status = 'succeeded'")
        asking = threading.Thread(
            target=lambda: answers.append(run_module._was_published(asked))  # noqa: SLF001
        )
        asking.start()
        wait_until_somebody_waits(star)
        getattr(committing, end)()
        asking.join(PATIENCE_SECONDS)
    assert answers == [published]


# --- what a role's settings say ------------------------------------------------------------------


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_limit_on_idle_transactions_does_not_end_a_run(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Reading takes longer than the role's limit; the lock and what was begun are still there."""
    limit = sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '4s'")
    query(star, limit.format(sql.Identifier(star.rpartition("dbname=")[2])))
    tree.logs("b.json", event(8))
    young = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle in transaction' AND state_change > clock_timestamp() - interval '5 s'"""
    read = batches.extract
    waited = []

    def read_for_long(*args: Any, **options: Any) -> Any:
        wait_until(lambda: waited or query(star, young) == [(0,)], "its transactions end")
        waited.append(1)
        yield from read(*args, **options)

    monkeypatch.setattr(batches, "extract", read_for_long)
    assert run(command, tree.root, dsn=star, jobs=1, retries=0).status == "succeeded"
    assert waited


# --- nobody else's functions --------------------------------------------------------------------

TRAPS = (
    "to_timestamp(double precision) RETURNS timestamptz",
    "hashtextextended(text, integer) RETURNS bigint",
    "set_config(text, text, boolean) RETURNS text",
    "current_setting(text) RETURNS text",
    "format(text, text, name, text, text) RETURNS text",
    "format(text, name, text) RETURNS text",
    "format(text, name, name, text) RETURNS text",
    "format(text, name, name) RETURNS text",
    "count() RETURNS bigint",
    "coalesce_(text) RETURNS text",
    "joined(name, name) RETURNS text",
    "joined(text, name) RETURNS text",
)


@pytest.mark.every(2)
@pytest.mark.parametrize("command", COMMANDS)
def test_functions_and_tables_in_public_are_never_used(star: str, tree: Tree, command: str) -> None:
    """Whatever somebody plants in `public`, a run neither calls it nor writes to it."""
    query(star, "CREATE TABLE public.sprung (what text)")
    for trap in TRAPS:
        query(
            star,
            f"""CREATE FUNCTION public.{trap} LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'sprung: {trap}'; END $$""",
        )
    for left in ("name", "text"):
        query(
            star,
            f"""CREATE OPERATOR public.|| (FUNCTION = public.joined, LEFTARG = {left},
            RIGHTARG = name)""",
        )
    query(
        star,
        """CREATE AGGREGATE public.array_agg(text) (SFUNC = array_append, STYPE = text[],
        INITCOND = '{sprung}')""",
    )
    for name in (*NAMES, *staging.TABLES, "runs", "files", "rejects"):
        query(star, sql.SQL("CREATE TABLE public.{} (a integer)").format(sql.Identifier(name)))
    tree.logs("b.json", event(8))
    query(star, "GRANT SELECT ON sparkify.users TO PUBLIC")
    query(star, "COMMENT ON TABLE sparkify.users IS 'x'")
    query(star, "COMMENT ON COLUMN sparkify.users.level IS 'x'")
    assert run(command, tree.root, dsn=star).status == "succeeded"
    assert len(read_star(star)["songplays"]) == 3
    for name in NAMES:
        assert query(star, sql.SQL("SELECT * FROM public.{}").format(sql.Identifier(name))) == []


# --- where the data goes --------------------------------------------------------------------------


def test_the_target_shows_no_password(server: Server, database: str, tree: Tree) -> None:
    """The report names user and database, and no password even where one was needed."""
    tree.logs("a.json", event())
    query(
        database,
        sql.SQL(
            "DO $$ BEGIN CREATE ROLE {0} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$"
        ).format(sql.Identifier(LOCKED_ROLE)),
    )
    query(database, f"ALTER ROLE {LOCKED_ROLE} PASSWORD 'hush hush'")
    name = database.rpartition("dbname=")[2]
    query(database, f"GRANT CREATE ON DATABASE {name} TO {LOCKED_ROLE}")
    dsn = database.replace("user=postgres", f"user={LOCKED_ROLE} password='hush hush'")
    report = sparkify_bulk.reload(logs=tree.log_folder, dsn=dsn)
    assert report.target.startswith(f"{LOCKED_ROLE}@{server.home}")
    assert "hush" not in report.to_json().decode()
    assert (
        query(database, "SELECT report::text FROM sparkify_ledger.runs WHERE report::text ~ 'hush'")
        == []
    )


@pytest.mark.every(2)
@pytest.mark.parametrize("limit", ["CREDITS_KEPT", "KEYS_KEPT", "USERS_KEPT"])
def test_what_does_not_fit_in_memory_is_left_to_sql(
    database: str, committed: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """With more songs, plays or users than are held in memory, a reload ends in the same star."""
    first = sparkify_bulk.reload(committed, dsn=database)
    before = read_star(database)
    monkeypatch.setattr("sparkify_bulk.source.batches.BATCH_FILES", 1)
    monkeypatch.setattr(reductions, limit, 0)
    report = sparkify_bulk.reload(committed, dsn=database)
    assert read_star(database) == before
    assert report.tables == first.tables
    phases = {phase.name for phase in report.phases}
    assert ("match songplays" in phases) == (limit == "CREDITS_KEPT")


def test_a_play_read_twice_within_a_batch_and_across_is_one_row(database: str, tree: Tree) -> None:
    """Copies of a play are found in its own file and in other batches, and counted."""
    tree.logs("a.json", event(1), event(2), event(1))
    tree.logs("b.json", event(3), event(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparkify_bulk.source.batches.BATCH_FILES", 1)
        report = sparkify_bulk.reload(tree.root, dsn=database)
    books = report.input.events
    assert (books.accepted, books.inserted, books.duplicates) == (5, 3, 2)
    assert query(database, "SELECT count(*) FROM sparkify.time") == [(3,)]
    assert report.tables["time"].inserted == 3


def test_phases_tell_what_they_cost(star: str, tree: Tree) -> None:
    """Every phase begins after the one before, and tells its processor time on both sides."""
    phases = sparkify_bulk.reload(tree.root, dsn=star).phases
    assert [phase.began for phase in phases] == sorted(phase.began for phase in phases)
    assert all(phase.client_cpu_seconds >= 0 for phase in phases)
    # The tests' server runs on this machine.
    assert all((phase.server_cpu_seconds or 0) >= 0 for phase in phases)
    assert phases[-1].server_cpu_seconds is not None
