"""The embedded server: start, address, stop."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from sparkify_bulk import embedded
from sparkify_bulk.errors import EmbeddedServerError


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a folder for a server, which is stopped and removed afterwards."""
    # Not pytest's own folder: when root runs the tests, no other account may enter that.
    above = Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
    above.chmod(0o755)
    yield above / "home"
    for major in (16, 18):
        embedded.stop(above / "home", major=major)
    shutil.rmtree(above)


def ask(server: embedded.Server, query: str) -> str:
    """Return the one value that a query gives."""
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("major", [16, 18])
def test_starts_from_nothing(home: Path, major: int) -> None:
    """A server is made and started where there was none, of the version asked for."""
    server = embedded.ensure_running(home, major=major)
    assert ask(server, "SHOW server_version").startswith(f"{major}.")
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert embedded.status(home, major=major) == server


def test_running_server_is_left_alone(home: Path) -> None:
    """A second start finds the same process."""
    assert embedded.ensure_running(home).pid == embedded.ensure_running(home).pid


def test_data_survive_a_stop(home: Path) -> None:
    """What was stored is there after a stop and a start; a stop says whether anything ran."""
    with psycopg.connect(embedded.ensure_running(home).dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert embedded.stop(home)
    assert embedded.status(home) is None
    assert not embedded.stop(home)
    assert ask(embedded.ensure_running(home), "SELECT answer FROM kept") == "42"


def test_url_reaches_the_server(home: Path) -> None:
    """The URL leads other programs to the same database."""
    server = embedded.ensure_running(home)
    with psycopg.connect(server.url) as connection:
        assert connection.info.dbname == "sparkify"


def test_stale_lock_file_is_no_server(home: Path) -> None:
    """A lock file left by a killed server names no running one, and doesn't stop the next."""
    server = embedded.ensure_running(home)
    lock = server.data / "postmaster.pid"
    left = lock.read_text()
    embedded.stop(home)
    # The number now belongs to a process that lives, but is no PostgreSQL.
    lock.write_text(left.replace(str(server.pid), str(os.getpid()), 1))
    shutil.chown(lock, lock.parent.owner())
    assert embedded.status(home) is None


def test_two_starts_at_once_give_one_server(home: Path) -> None:
    """Processes that start the server at the same time end up with the same one."""
    code = (
        "import sys, pathlib; from sparkify_bulk import embedded;"
        "print(embedded.ensure_running(pathlib.Path(sys.argv[1])).pid)"
    )

    def start(_: int) -> str:
        command = [sys.executable, "-c", code, str(home)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    with ThreadPoolExecutor(2) as pool:
        pids = set(pool.map(start, range(2)))
    assert len(pids) == 1


def test_nobody_else_gets_in(home: Path) -> None:
    """Only the owner may enter the folders, and nothing listens on the network."""
    server = embedded.ensure_running(home)
    for folder in (home, server.data, server.socket_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ask(server, "SHOW listen_addresses") == ""


def test_long_names_put_the_socket_elsewhere(home: Path) -> None:
    """A home whose name is too long for a socket has its socket in a short private folder."""
    deep = home / ("x" * 100)
    try:
        server = embedded.ensure_running(deep)
        assert server.socket_dir.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert ask(server, "SELECT 1") == "1"
    finally:
        embedded.stop(deep)
        shutil.rmtree(server.socket_dir)


def test_odd_names_are_quoted(home: Path) -> None:
    """A home with spaces and quotes in its name works."""
    odd = home / 'it\'s a "folder"'
    try:
        server = embedded.ensure_running(odd)
        assert ask(server, "SELECT 1") == "1"
        with psycopg.connect(server.url) as connection:
            assert connection.info.dbname == "sparkify"
    finally:
        embedded.stop(odd)


def test_durability_is_kept(home: Path) -> None:
    """The server is tuned, but never at the price of losing what it has committed."""
    server = embedded.ensure_running(home)
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        assert ask(server, f"SHOW {setting}") == "on"
    assert ask(server, "SHOW wal_level") == "minimal"


def test_failed_start_says_why(home: Path) -> None:
    """A server that can't start is reported with the last lines of its log."""
    server = embedded.ensure_running(home)
    embedded.stop(home)
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting") as caught:
        embedded.ensure_running(home)
    assert "--dsn" in caught.value.hint


def test_half_made_cluster_is_made_anew(home: Path) -> None:
    """What an interrupted first start left behind doesn't stand in the way."""
    left = home / "postgresql-18.partial"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("18\n")
    assert ask(embedded.ensure_running(home), "SELECT 1") == "1"


def test_home_that_cannot_be_made(tmp_path: Path) -> None:
    """A home that can't be made is an error that says what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="can't be made") as caught:
        embedded.ensure_running(tmp_path / "file" / "home")
    assert "SPARKIFY_BULK_HOME" in caught.value.hint
