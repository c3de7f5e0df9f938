"""Through the real pgbouncer, which lends a server's connection for one transaction at a time."""

import contextlib
import logging
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import lack
from fault_ground import BUSY, REJECTED, Halting
from servers import Server, wait_until_up
from test_session import by_database, known, reset_all
from trees import Tree, event, query, read_star, slow_star, song

import sparkify_bulk
from sparkify_bulk import pipeline
from sparkify_bulk.database import connection
from sparkify_bulk.database.server import open_connection
from sparkify_bulk.doctor import checks
from sparkify_bulk.errors import RejectLimitError
from sparkify_bulk.loading import marks
from sparkify_bulk.reporting import page
from sparkify_bulk.settings import Settings

SIZE = 8
# What the pooler itself sets anew for whoever it lends a session to.
FOLLOWED = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
]
SETTINGS = """\
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {home}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_reset_query_always = 0
"""


@pytest.fixture(params=["transaction", "session"])
def pooled(request: pytest.FixtureRequest, server: Server, database: str) -> Iterator[str]:
    """Start a pooler before the server; return the database's connection string through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        lack("no pgbouncer is installed")
    with tempfile.TemporaryDirectory(prefix="spb_pool_") as folder:
        home = Path(folder)
        settings = home / "pgbouncer.ini"
        settings.write_text(
            SETTINGS.format(server=server.home, home=home, mode=request.param, size=SIZE)
        )
        rights = {}
        if os.geteuid() == 0:
            # It refuses to run as root.
            account = pwd.getpwnam("nobody")
            os.chown(home, account.pw_uid, account.pw_gid)
            rights = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with subprocess.Popen(
            [program, "--quiet", settings], cwd="/", stderr=subprocess.DEVNULL, **rights
        ) as process:
            dsn = f"host={home} port=6432 dbname={database.rpartition('dbname=')[2]} user=postgres"
            try:
                wait_until_up(dsn)
                yield dsn
            finally:
                process.terminate()


@pytest.mark.every(2)
def test_a_star_is_loaded_and_rebuilt_through_a_pooler(
    pooled: str, database: str, tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever connection a transaction is lent, the star is right; the log says what it takes."""
    caplog.set_level(logging.INFO)
    for number in range(8):
        tree.songs(f"{number}.json", song(number))
        tree.logs(f"{number}.json", *(event(10 * number + item) for item in range(10)))
    sparkify_bulk.reload(tree.root, dsn=pooled, jobs=2)
    tree.logs("more.json", *(event(item, userId="9") for item in range(200, 260)))
    sparkify_bulk.load(tree.root, dsn=pooled, jobs=2)
    sparkify_bulk.load(tree.root, dsn=pooled, jobs=2)
    expected = slow_star(database, tree.root)
    assert read_star(database) == expected
    sparkify_bulk.reload(tree.root, dsn=pooled, jobs=2)
    assert read_star(database) == expected
    assert "through a pooler" in caplog.text
    left = "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text ~ '_temp_'"
    assert query(database, left) == [(0,)]


def left_in_sessions(pooled: str) -> list[object]:
    """Return what is left in all sessions that the pooler lends: settings, statements, locks."""
    query = """
        SELECT 'setting ' || name || ' = ' || setting FROM pg_settings
        WHERE source = 'session' AND name <> ALL (%s)
        AND name NOT IN ('transaction_isolation', 'transaction_read_only')
        UNION ALL SELECT 'statement ' || name FROM pg_prepared_statements
        UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
        UNION ALL SELECT 'lock' FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()
        UNION ALL SELECT relname FROM pg_class
        WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v')"""
    found: list[object] = []
    with contextlib.ExitStack() as stack:
        backends = set()
        # Each holds its session, so that the next one is lent another.
        for _ in range(SIZE):
            lent = stack.enter_context(psycopg.connect(pooled, prepare_threshold=None))
            found += lent.execute(query, [FOLLOWED]).fetchall()
            backends.add(lent.execute("SELECT pg_backend_pid()").fetchall()[0])
        assert len(backends) == SIZE
    return found


@pytest.mark.every(2)
def test_nothing_is_left_in_a_session_that_a_pooler_lends_to_others(
    pooled: str, database: str, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs, and however it ends; nor before the tables that views would look at go."""
    views = """SELECT relname FROM pg_class
        WHERE relkind = 'v' AND relnamespace::regnamespace::text ~ '_temp_'"""
    drop_tables = marks.drop_tables
    cleared = []

    def look(*args: Any) -> None:
        cleared.append(query(database, views))
        drop_tables(*args)

    monkeypatch.setattr(marks, "drop_tables", look)
    tree.songs("a.json", song())
    tree.logs("a.json", event(1), {"page": "NextSong"})
    sparkify_bulk.reload(tree.root, dsn=pooled, jobs=2)
    tree.logs("b.json", event(2), b"{broken")
    for command in (sparkify_bulk.reload, sparkify_bulk.load):
        with pytest.raises(RejectLimitError):
            command(tree.root, dsn=pooled, jobs=2, max_rejects=0)
    sparkify_bulk.load(tree.root, dsn=pooled, jobs=2)
    settings = Settings(tree.song_folder, tree.log_folder, dsn=pooled)
    assert pipeline.verify(settings)[1] == []
    pipeline.replay(settings)
    pipeline.plan(settings)
    assert sparkify_bulk.ask("top_locations", dsn=pooled).height == 1
    assert left_in_sessions(pooled) == []
    assert [found for found in cleared if found] == []
    assert len(cleared) > 10


@pytest.mark.every(2)
def test_settings_are_set_in_each_transaction_that_a_pooler_lends(
    pooled: str, database: str, tree: Tree
) -> None:
    """Whatever role and database set, every command goes well, and nothing is left in a session."""
    query(database, "CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler")
    for number in range(4):
        tree.songs(f"{number}.json", song(number))
        tree.logs(f"{number}.json", *(event(10 * number + item) for item in range(10)))
    expected = slow_star(database, tree.root)
    awkward = known(database)
    # Between transactions it can't be lifted, and in session mode that is when it strikes.
    del awkward["idle_session_timeout"]
    with by_database(database, awkward):
        settings = Settings(tree.song_folder, tree.log_folder, dsn=pooled, jobs=2)
        pipeline.reload(settings)
        tree.logs("more.json", event(500))
        pipeline.load(settings)
        assert pipeline.verify(settings)[1] == []
        pipeline.replay(settings)
        assert sparkify_bulk.ask("top_locations", dsn=pooled).height == 1
        with open_connection(pooled) as looking:
            page.write(looking, "sparkify", tree.root / "page.html", None)
        assert checks.diagnose(dsn=pooled, schema="sparkify").exit_code == 0
    reset_all(database)
    assert left_in_sessions(pooled) == []
    (tree.log_folder / "more.json").unlink()
    found = read_star(database)
    assert {name: len(rows) for name, rows in found.items()} == {
        name: len(rows) + (name in ("songplays", "time")) for name, rows in expected.items()
    }


@pytest.mark.every(2)
def test_the_lock_holds_through_a_pooler_and_is_let_go(
    pooled: str, database: str, tree: Tree
) -> None:
    """It belongs to a transaction that stays open, not to a session that others are lent."""
    tree.logs("a.json", event(), b"{broken")
    sparkify_bulk.reload(tree.root, dsn=pooled)
    first = Halting("reload", tree.root, pooled, "mid-COPY")
    try:
        first.wait_for("reached")
        second = Halting("load", tree.root, pooled, "")
        assert second.end() == BUSY, second.said()
        first.go()
        assert first.end() == REJECTED, first.said()
    finally:
        first.close()
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    assert query(database, locks) == [(0,)]


def test_a_pooler_is_known_by_its_process_number(pooled: str, database: str) -> None:
    """Settings of the session are left alone there: others are lent the same one."""
    with connection.connect(pooled) as through, connection.connect(database) as straight:
        assert connection.is_pooled(through)
        assert not connection.is_pooled(straight)


def test_the_doctor_tells_of_a_pooler(pooled: str, tree: Tree) -> None:
    """And of the connections that a run takes; it finds nothing wrong with it."""
    tree.songs("a.json", song())
    tree.logs("a.json", event())
    folders = {"songs": tree.song_folder, "logs": tree.log_folder}
    for _ in range(2):
        diagnosis = checks.diagnose(dsn=pooled, schema="sparkify", **folders)
        (found,) = [f.found for f in diagnosis.findings if f.name == "connections"]
        assert re.match(r"connected through a pooler: a run takes \d+ of its", found)
        assert diagnosis.exit_code == 0, diagnosis
        sparkify_bulk.reload(tree.root, dsn=pooled)
