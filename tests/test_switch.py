"""A reload's switch lets readers be, and loses nothing that hangs on the star."""

from typing import Any

import psycopg
import pytest
from crowd import READS, Crowd
from trees import Tree, event, song

import sparkify_bulk
from sparkify_bulk import switch as switching
from sparkify_bulk.errors import SparkifyBulkError

# Seconds after which a switch that still hasn't come through fails its test.
PATIENCE_SECONDS = 60.0


@pytest.fixture
def star(database: str, tree: Tree) -> str:
    """Make a small star; return the connection string of its database."""
    tree.songs("songs.json", *(song(number) for number in range(20)))
    tree.logs("events.json", *(event(number, userId=str(number % 7)) for number in range(200)))
    sparkify_bulk.reload(tree.root, dsn=database)
    return database


def rebuild(star: str, tree: Tree, **options: Any) -> Any:
    """Reload the star."""
    options = {"switch_patience": PATIENCE_SECONDS, "retries": 0} | options
    return sparkify_bulk.reload(tree.root, dsn=star, **options)


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement; return its rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


# --- readers ------------------------------------------------------------------------------------


def test_no_read_fails_while_the_star_is_switched(
    star: str, tree: Tree, pytestconfig: pytest.Config
) -> None:
    """Readers of tables, views and views of views meet no deadlock and nothing that is gone."""
    least: int = pytestconfig.getoption("--reads")
    crowd = Crowd(star)
    crowd.make_views()
    reloads = 0
    with crowd:
        while crowd.done < least or reloads < least // 250:
            rebuild(star, tree)
            reloads += 1
            assert not crowd.failures
    assert not crowd.failures


@pytest.mark.parametrize(
    "reads",
    [READS[:1], READS[1:3], READS],
    ids=["one table", "two tables in both orders", "tables and views"],
)
def test_readers_that_leave_no_gap_are_waited_for_in_the_lock_queue(
    star: str, tree: Tree, reads: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four clients, each always in a query of 0.3 s, neither fail nor keep the star from switching.

    Without the queue the switch would have to meet all four between two queries.
    """
    monkeypatch.setattr(switching, "_GENTLE_SECONDS", 0.2)
    crowd = Crowd(star, readers=4, seconds=0.3, reads=reads)
    crowd.make_views()
    with crowd:
        for _ in range(3):
            assert rebuild(star, tree).status == "succeeded"
    assert not crowd.failures


def test_a_reader_that_holds_one_table_and_waits_for_another_goes_first(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has read songs comes to songplays while the switch queues: no deadlock."""
    monkeypatch.setattr(switching, "_GENTLE_SECONDS", 0.0)
    closing = switching.Gates.close
    turns: list[int] = []
    with psycopg.connect(star) as reader:
        reader.execute("SELECT count(*) FROM sparkify.songs")

        def close(gates: switching.Gates, *arguments: Any) -> None:
            closing(gates, *arguments)
            turns.append(1)
            if len(turns) == 1:
                reader.pgconn.send_query(b"SELECT count(*) FROM sparkify.songplays")
            elif len(turns) == 2:
                result = reader.pgconn.get_result()
                assert result
                assert result.error_message == b""
                assert result.get_value(0, 0) == b"200"
                while reader.pgconn.get_result():
                    pass
                reader.rollback()

        monkeypatch.setattr(switching.Gates, "close", close)
        assert rebuild(star, tree).status == "succeeded"
    assert len(turns) >= 2


def test_a_reader_of_a_view_that_waits_for_its_table_goes_first(star: str, tree: Tree) -> None:
    """The switch holds no table while it waits for a view: whoever has the view has it all."""
    query(star, "CREATE VIEW public.plays AS SELECT songplay_id FROM sparkify.songplays")
    with psycopg.connect(star) as reader:
        # What a read of the view holds before it comes to the table.
        reader.execute("COMMENT ON VIEW public.plays IS NULL")
        with pytest.raises(SparkifyBulkError, match="stayed in use"):
            rebuild(star, tree, switch_patience=1.5)
        assert reader.execute("SELECT count(*) FROM public.plays").fetchall() == [(200,)]
    rebuild(star, tree)


def test_a_view_made_while_the_tables_are_being_locked_sees_the_new_star(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs on the star is looked up again once nothing more can come."""
    look = switching._relations  # noqa: SLF001 - wrapped
    made: list[str] = []

    def look_late(*arguments: Any) -> Any:
        found = look(*arguments)
        if not made:
            query(star, "CREATE VIEW public.late AS SELECT count(*) FROM sparkify.songplays")
            made.append("late")
        return found

    tree.logs("more.json", event(500))
    monkeypatch.setattr(switching, "_relations", look_late)
    monkeypatch.setattr(switching, "_wait_for_upkeep", lambda *_: None)
    rebuild(star, tree)
    assert query(star, "SELECT * FROM public.late") == [(201,)]


def test_whoever_keeps_the_star_in_use_is_named(star: str, tree: Tree) -> None:
    """By process, role, application, time and the start of the query, without its values."""
    before = query(star, "SELECT user_id, last_name FROM sparkify.users ORDER BY user_id")
    with psycopg.connect(star, application_name="quarterly figures") as reader:
        reader.execute("SELECT count(*) FROM sparkify.users WHERE last_name <> 'secret'")
        with pytest.raises(SparkifyBulkError, match=r"in use for 0\.5 s") as caught:
            rebuild(star, tree, switch_patience=0.5)
        message = caught.value.message
        assert f"process {reader.info.backend_pid}" in message
        assert "user postgres, application quarterly figures, since 2" in message
        assert "SELECT count(*) FROM sparkify.users WHERE last_name <> …" in message
        assert "secret" not in message
        assert "--switch-patience" in caught.value.hint
        assert (
            query(star, "SELECT user_id, last_name FROM sparkify.users ORDER BY user_id") == before
        )
    rebuild(star, tree)


def test_no_more_connections_than_the_server_takes_are_needed_to_queue(
    star: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gates the switch waits in one queue after the other."""
    monkeypatch.setattr(switching, "_GENTLE_SECONDS", 0.0)
    monkeypatch.setattr(switching, "_MOST_GATES", 0)
    with Crowd(star, readers=2, seconds=0.05, reads=READS[:1]) as crowd:
        assert rebuild(star, tree).status == "succeeded"
    assert not crowd.failures


def test_a_snapshot_from_before_the_switch_sees_some_tables_full_and_others_empty(
    star: str, tree: Tree
) -> None:
    """As the documentation says; one that has read a table of the star keeps the switch waiting."""
    counts = "SELECT (SELECT count(*) FROM sparkify.{}), (SELECT count(*) FROM sparkify.{})"
    with psycopg.connect(star) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT 1")
        rebuild(star, tree)
        filled = reader.execute(counts.format("songplays", "time").encode()).fetchall()
        merged = reader.execute(counts.format("songs", "users").encode()).fetchall()
    assert filled == [(200, 200)]
    assert merged == [(0, 0)]
    assert query(star, counts.format("songs", "users")) == [(20, 7)]
