"""The embedded server: start, address, stop."""

import contextlib
import os
import pty
import pwd
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from command import run
from servers import fast_folder, free_port
from waiting import wait_until

from sparkify_bulk.database import embedded
from sparkify_bulk.errors import EmbeddedServerError

IS_ROOT = os.geteuid() == 0
START = (
    "import sys, pathlib, psycopg; from sparkify_bulk.database import embedded;"
    "server = embedded.ensure_running(pathlib.Path(sys.argv[1]));"
    "psycopg.connect(server.dsn).close(); print(server.pid)"
)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for homes; at the end stop the servers in it, and remove it."""
    # Not pytest's own folder: when root runs the tests, no other account may enter that.
    above = Path(tempfile.mkdtemp(prefix="sb-", dir=fast_folder()))
    above.chmod(0o711)
    try:
        yield above
    finally:
        for home in (path for path in above.iterdir() if path.is_dir()):
            for major in (16, 18):
                embedded.stop(home, major=major)
        shutil.rmtree(above)


@pytest.fixture
def home() -> Iterator[Path]:
    """Return where a test's own server may live."""
    with folder() as above:
        yield above / "home"


@pytest.fixture(scope="module")
def started() -> Iterator[embedded.Server]:
    """Return a server for the tests that only look at it."""
    with folder() as above:
        yield embedded.ensure_running(above / "home")


@contextlib.contextmanager
def running(home: Path, major: int = 18) -> Iterator[embedded.Server]:
    """Run a server whose socket may be outside of its home."""
    server = embedded.ensure_running(home, major=major)
    try:
        yield server
    finally:
        embedded.stop(home, major=major)
        if server.socket_dir != server.data:
            shutil.rmtree(server.socket_dir)


def ask(address: str, query: str) -> str:
    """Return the one value that a query gives."""
    with psycopg.connect(address) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def kill(server: embedded.Server) -> None:
    """Kill a server with all its processes, as a lack of memory or of power does."""
    # It starts no other process any more, one that would be left and listen.
    os.kill(server.pid, signal.SIGSTOP)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    pids = [server.pid, *map(int, children)]
    ends = [os.pidfd_open(pid) for pid in pids]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for end in ends:
        select.select([end], [], [])
        os.close(end)


@pytest.mark.parametrize("major", [16, 18])
def test_starts_from_nothing(home: Path, major: int) -> None:
    """A server is made and started where there was none, of the version asked for."""
    server = embedded.ensure_running(home, major=major)
    assert ask(server.dsn, "SHOW server_version").startswith(f"{major}.")
    assert ask(server.dsn, "SHOW server_encoding") == "UTF8"
    assert embedded.status(home, major=major) == server


def test_running_server_is_left_alone(started: embedded.Server) -> None:
    """A second start finds the same process."""
    assert embedded.ensure_running(started.home) == started


def test_data_survive_a_stop(home: Path) -> None:
    """What was stored is there after a stop and a start; a stop says whether anything ran."""
    with psycopg.connect(embedded.ensure_running(home).dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert embedded.stop(home)
    assert embedded.status(home) is None
    assert not embedded.stop(home)
    assert ask(embedded.ensure_running(home).dsn, "SELECT answer FROM kept") == "42"


def test_url_reaches_the_server(started: embedded.Server) -> None:
    """The URL leads other programs to the same database."""
    assert ask(started.url, "SELECT current_database()") == "sparkify"


def test_psql_is_there() -> None:
    """The wheel's own psql can be run."""
    done = subprocess.run(
        [embedded.psql_path(), "--version"], check=True, capture_output=True, text=True
    )
    assert " 18." in done.stdout


def test_psql_of_the_embedded_server_is_its_own(started: embedded.Server, tmp_path: Path) -> None:
    """Another one on the path, perhaps of an older version, is for other servers."""
    other = tmp_path / "psql"
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for more, said in (
        ({"SPARKIFY_BULK_HOME": str(started.home)}, "sparkify"),
        ({"SPARKIFY_BULK_DSN": started.dsn}, "another"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "sparkify_bulk", "psql", "-Atc", "SELECT current_database()"],
            check=True, capture_output=True, text=True, env=os.environ | path | more,
        )  # fmt: skip
        assert done.stdout.strip() == said


def test_killed_server_is_started_again(home: Path) -> None:
    """A server that was killed doesn't count as running, and what it left doesn't stop the next."""
    server = embedded.ensure_running(home)
    kill(server)
    assert embedded.status(home) is None
    assert ask(embedded.ensure_running(home).dsn, "SELECT 1") == "1"


def test_number_of_a_killed_server_goes_to_another_program(home: Path) -> None:
    """A lock file whose number belongs to some other process by now names no running server."""
    server = embedded.ensure_running(home)
    lock = server.data / "postmaster.pid"
    left = lock.read_text()
    embedded.stop(home)
    # Of the server's account: the server itself doesn't mind those of others.
    owner = lock.parent.owner() if IS_ROOT else None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd="/", user=owner) as other:
        lock.write_text(left.replace(str(server.pid), str(other.pid), 1))
        shutil.chown(lock, lock.parent.owner())
        assert embedded.status(home) is None
        assert embedded.ensure_running(home).pid != other.pid
        assert other.poll() is None


def test_starts_at_once_give_one_server(home: Path) -> None:
    """Processes that start the server at the same time end up with the same one, ready for all."""

    def start(_: int) -> str:
        command = [sys.executable, "-c", START, str(home)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    with ThreadPoolExecutor(4) as pool:
        pids = set(pool.map(start, range(4)))
    assert len(pids) == 1


@pytest.mark.every(2)
@pytest.mark.parametrize("step", ["_write", "_start"])
def test_interrupted_first_start(home: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first start cut short, while the cluster is made or after, leaves nothing amiss."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            embedded.ensure_running(home)
    server = embedded.ensure_running(home)
    assert ask(server.dsn, "SELECT current_database()") == "sparkify"
    assert ask(server.dsn, "SHOW wal_level") == "minimal"


def test_half_made_cluster_is_made_anew(home: Path) -> None:
    """What an interrupted making of the cluster left behind doesn't stand in the way."""
    server = embedded.ensure_running(home)
    embedded.stop(home)
    server.data.rename(home / "postgresql-18.partial")
    (home / "postgresql-18.partial" / "postgresql.conf").unlink()
    assert ask(embedded.ensure_running(home).dsn, "SELECT 1") == "1"


def test_interrupt_of_the_program_spares_the_server(home: Path) -> None:
    """The server isn't in the process group that Ctrl-C ends."""
    server = embedded.ensure_running(home)
    assert os.getpgid(server.pid) == server.pid
    assert os.getsid(server.pid) != os.getsid(0)


def test_nobody_else_gets_in(started: embedded.Server) -> None:
    """Only the owner may enter the folders, and nothing listens on the network."""
    for place in (started.home, started.data, started.socket_dir):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert ask(started.dsn, "SHOW listen_addresses") == ""


@pytest.mark.every(2)
@pytest.mark.parametrize("name", ['it\'s a "folder" $HOME', "a,b", "back\\slash", "x" * 100])
def test_any_name_will_do(home: Path, name: str) -> None:
    """A home with any name works; where it can't be a socket's, that is in a short private folder.

    Two servers of one home keep out of each other's way there.
    """
    named = home.with_name(name)
    with running(named) as server, running(named, major=16) as other:
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        for address in (server.dsn, server.url):
            assert ask(address, "SHOW server_version").startswith("18.")
        assert ask(other.dsn, "SHOW server_version").startswith("16.")


def test_a_port_takes_a_password_from_a_file_of_the_users_own(home: Path) -> None:
    """Only on the loopback address, and only when asked for; URLs lead there, with and without."""
    port = free_port()
    server = embedded.ensure_running(home, port=port)
    assert ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert f"@127.0.0.1:{port}/" in server.url
    assert ask(server.url, "SELECT current_database()") == "sparkify"
    assert ask(server.url_with_password, "SELECT inet_server_port()::text") == str(port)
    for file in (home / "password", server.password_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.stat().st_uid == os.geteuid()
    password = (home / "password").read_text().strip()
    assert password not in server.url
    assert len(password) >= 32
    # Left alone, and found by those who ask for no port.
    assert embedded.ensure_running(home) == server == embedded.status(home)
    embedded.stop(home)
    again = embedded.ensure_running(home)
    assert not again.listens
    assert ask(again.dsn, "SHOW listen_addresses") == ""
    assert password in embedded.ensure_running(home, port=port).url_with_password


@pytest.mark.every(3)
@pytest.mark.parametrize("password", ["", "wrong", None])
def test_nobody_gets_in_by_the_port_without_the_password(
    home: Path, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even into a cluster whose own rules trust, and with another one's listen address."""
    server = embedded.ensure_running(home)
    assert "trust" in (server.data / "pg_hba.conf").read_text()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET listen_addresses = '*'")
    server = embedded.ensure_running(home, port=free_port())
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(psycopg.OperationalError, match=r"password|refused"):
            psycopg.connect(
                host=host, port=server.port, user="sparkify", dbname="sparkify", password=password
            )
    for address in other_addresses():
        with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
            psycopg.connect(host=address, port=server.port, user="sparkify", dbname="sparkify")


def other_addresses() -> list[str]:
    """Return this machine's addresses that aren't loopback."""
    shown = subprocess.run(["hostname", "-I"], check=False, capture_output=True, text=True).stdout
    return [address for address in shown.split() if "." in address]


def test_the_password_may_be_the_users_own(home: Path) -> None:
    """Whatever is in it; a file that others may read, or that is empty, is refused."""
    embedded.stop(embedded.ensure_running(home).home)
    file = home / "password"
    odd = "it's: a \\ päss/w@rd"
    file.write_text(odd + "\n")
    file.chmod(0o644)
    port = free_port()
    with pytest.raises(EmbeddedServerError, match="others can read it") as caught:
        embedded.ensure_running(home, port=port)
    assert "chmod 600" in caught.value.hint
    assert embedded.status(home) is None
    file.chmod(0o600)
    server = embedded.ensure_running(home, port=port)
    for address in (server.url, server.url_with_password):
        assert ask(address, "SELECT current_database()") == "sparkify"
    embedded.stop(home)
    file.write_text("")
    with pytest.raises(EmbeddedServerError, match="is empty"):
        embedded.ensure_running(home, port=port)


def test_a_server_in_use_is_not_started_anew_for_a_port(home: Path) -> None:
    """Whoever works with it would be thrown out."""
    server = embedded.ensure_running(home)
    port = free_port()
    with (
        psycopg.connect(server.dsn),
        pytest.raises(EmbeddedServerError, match=r"in use.*connections: 1") as caught,
    ):
        embedded.ensure_running(home, port=port)
    assert "db stop" in caught.value.hint

    def restarts() -> bool:
        # The server process of a client that has left is there for a moment.
        with contextlib.suppress(EmbeddedServerError):
            return embedded.ensure_running(home, port=port).port == port
        return False

    wait_until(restarts, "it stays in use")


def test_a_port_that_is_taken_is_said_so(home: Path) -> None:
    """With what the server logged."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmbeddedServerError, match="could not bind"):
            embedded.ensure_running(home, port=taken.getsockname()[1])


def test_reset_deletes_the_server_after_asking(home: Path) -> None:
    """Where nobody can be asked, only with --yes; the next start makes a new one."""
    server = embedded.ensure_running(home, port=free_port())
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    def reset(*arguments: str, answer: bytes = b"") -> tuple[int, str]:
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "sparkify_bulk", "db", "reset", *arguments],
            check=False, capture_output=True, text=True,
            stdin=theirs if answer else subprocess.DEVNULL,
            env=os.environ | {"SPARKIFY_BULK_HOME": str(home)},
        )  # fmt: skip
        os.close(ours)
        os.close(theirs)
        return done.returncode, done.stdout + done.stderr

    code, said = reset()
    assert (code, "--yes" in said) == (2, True)
    code, said = reset(answer=b"n\n")
    assert (code, "Nothing was deleted" in said) == (0, True)
    assert ask(server.dsn, "SELECT answer FROM kept") == "42"
    code, said = reset(answer=b"y\n")
    assert (code, str(server.data) in said) == (0, True)
    assert not server.data.exists()
    assert not (home / "password").exists()
    assert embedded.status(home) is None
    assert "nothing to delete" in reset("--yes")[1]
    assert ask(embedded.ensure_running(home).dsn, "SELECT to_regclass('kept')") == "None"
    assert reset("--yes")[0] == 0


def test_short_folder_must_be_private(home: Path) -> None:
    """A folder for the socket that others may enter is refused."""
    long = home.with_name("x" * 100)
    with running(long) as server:
        embedded.stop(long)
        server.socket_dir.chmod(0o755)
        with pytest.raises(EmbeddedServerError, match="other users can access it"):
            embedded.ensure_running(long)


@contextlib.contextmanager
def impostor(folder: Path, port: int) -> Iterator[list[bytes]]:
    """Listen in the place of a server as somebody else; note what is said to it."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / f".s.PGSQL.{port}"))
        listener.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = listener.accept()
                    with caller, contextlib.suppress(OSError):
                        while said := caller.recv(4096):
                            heard.append(said)
                            # AuthenticationCleartextPassword
                            caller.sendall(b"R\0\0\0\x08\0\0\0\x03")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.every(3)
@pytest.mark.skipif(not IS_ROOT, reason="gives a folder to another account")
@pytest.mark.parametrize(
    "words",
    [["db", "status"], ["db", "url"], ["db", "start"], ["psql", "-c", "SELECT 1"], ["runs"]],
)
def test_a_false_server_is_told_no_password(home: Path, words: list[str]) -> None:
    """The temporary folder was emptied after a crash, and another made the socket's folder."""
    long = home.with_name("x" * 100)
    server = embedded.ensure_running(long)
    kill(server)
    shutil.rmtree(server.socket_dir)
    server.socket_dir.mkdir()
    os.chown(server.socket_dir, 1234, 1234)
    try:
        with impostor(server.socket_dir, server.port) as heard:
            done = run(*words, SPARKIFY_BULK_HOME=str(long), PGPASSWORD="s3cr3t")
        assert done.returncode == 4, done.stdout
        assert f"{server.socket_dir} belongs to another user" in done.stderr
        assert heard == []
    finally:
        shutil.rmtree(server.socket_dir)


def test_who_listens_is_looked_at_before_anything_is_said(home: Path) -> None:
    """A socket whose server runs as another account than the data's is left by libpq itself."""
    server = embedded.ensure_running(home)
    try:
        assert f"requirepeer={server.data.owner()}" in server.dsn
        wrong = server.dsn.replace(f"requirepeer={server.data.owner()}", "requirepeer=daemon")
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            psycopg.connect(wrong)
    finally:
        embedded.stop(home)


def test_relative_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home may be named relative to the working folder, and its server is found from any."""
    monkeypatch.chdir(home.parent)
    server = embedded.ensure_running(Path("home"))
    assert server == embedded.status(home)


def test_home_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the home; else root's is the system's, and a user's own."""
    monkeypatch.setenv("SPARKIFY_BULK_HOME", "/somewhere/else")
    assert embedded.default_home() == Path("/somewhere/else")
    monkeypatch.delenv("SPARKIFY_BULK_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/mine")
    expected = "/var/lib/sparkify-bulk" if IS_ROOT else "/mine/sparkify-bulk"
    assert embedded.default_home() == Path(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("autovacuum", "on"),
        ("wal_level", "minimal"),
        ("max_wal_senders", "0"),
        ("checkpoint_timeout", "30min"),
        ("checkpoint_completion_target", "0.9"),
        ("max_connections", "50"),
        ("log_min_error_statement", "panic"),
        ("TimeZone", "UTC"),
    ],
)
def test_setting_is_in_force(started: embedded.Server, name: str, value: str) -> None:
    """The server is tuned for loading, but never at the price of losing what it has committed."""
    assert ask(started.dsn, f"SHOW {name}") == value


def test_sizes_fit_the_machine(started: embedded.Server) -> None:
    """Memory and log are bounded by what the machine has, and larger than the server's defaults."""
    size = "SELECT setting::bigint FROM pg_settings WHERE name = '{}'"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    buffers = int(ask(started.dsn, size.format("shared_buffers"))) * 8192
    assert 2**25 <= buffers <= max(2**25, min(2**30, memory // 8))
    assert 1024 <= int(ask(started.dsn, size.format("max_wal_size"))) <= 8192
    assert 128 <= int(ask(started.dsn, size.format("min_wal_size"))) <= 1024


def test_settings_are_written_at_every_start(home: Path) -> None:
    """A later version's settings reach an older cluster; the user's own stay in force."""
    server = embedded.ensure_running(home)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 30")
    embedded.stop(home)
    (server.data / "sparkify-bulk.conf").write_text("max_connections = 20\n")
    server = embedded.ensure_running(home)
    assert ask(server.dsn, "SHOW max_connections") == "30"
    assert ask(server.dsn, "SHOW wal_level") == "minimal"


def test_failed_start_says_why(home: Path) -> None:
    """A server that can't start is reported with what it logged, and nothing of earlier starts."""
    server = embedded.ensure_running(home)
    embedded.stop(home)
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting") as caught:
        embedded.ensure_running(home)
    assert "shut down" not in caught.value.message
    assert "--dsn" in caught.value.hint


def test_home_that_cannot_be_made(tmp_path: Path) -> None:
    """A home that can't be made is an error that says what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="can't be made") as caught:
        embedded.ensure_running(tmp_path / "file" / "home")
    assert "SPARKIFY_BULK_HOME" in caught.value.hint


def test_missing_programs(home: Path) -> None:
    """Programs that the wheel doesn't bring are an error that says what to do."""
    with pytest.raises(EmbeddedServerError, match="no PostgreSQL 17") as caught:
        embedded.ensure_running(home, major=17)
    assert "--dsn" in caught.value.hint


def test_rights_of_a_container_suffice(home: Path) -> None:
    """Where root may not look into other accounts' processes, as in containers, all works."""
    drop = ["setpriv", "--bounding-set=-sys_ptrace"] if IS_ROOT else []
    command = [*drop, sys.executable, "-c", START, str(home)]
    first, second = (
        subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)
    )
    assert first == second


def test_somebody_elses_folder_is_not_taken(home: Path) -> None:
    """A folder with other things in it stays its owner's, even when root names it as the home."""
    home.mkdir(mode=0o755)
    (home / "mine").touch()
    before = home.stat()
    with contextlib.suppress(EmbeddedServerError):
        embedded.ensure_running(home)
    after = home.stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


@pytest.mark.skipif(not IS_ROOT, reason="only root acts for another account")
def test_root_follows_no_links_of_the_account(home: Path) -> None:
    """A link that the server's account plants makes root neither write nor give away a file."""
    server = embedded.ensure_running(home)
    embedded.stop(home)
    victim = home.with_name("victim")
    victim.write_text("root's")
    victim.chmod(0o600)
    settings = server.data / "sparkify-bulk.conf"
    settings.unlink()
    settings.symlink_to(victim)
    with pytest.raises(EmbeddedServerError, match="Permission denied"):
        embedded.ensure_running(home)
    assert victim.read_text() == "root's"
    assert victim.stat().st_uid == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root's server runs as another account")
def test_programs_in_a_closed_folder_are_copied(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs out of the account's reach are copied once, and their folder stays shut."""
    installed = embedded.psql_path().parents[2]
    closed = home.with_name("closed")
    closed.mkdir(mode=0o700)
    shutil.copytree(installed / "pginstall18", closed / installed.name / "pginstall18")
    libraries = installed.with_name(f"{installed.name}.libs")
    shutil.copytree(libraries, closed / libraries.name)
    (closed / installed.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(closed)
    server = embedded.ensure_running(home)
    assert embedded.psql_path().is_relative_to(closed)
    (copy,) = home.glob("programs-*")
    assert copy.owner() == pwd.getpwuid(server.data.stat().st_uid).pw_name
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    embedded.stop(home)
    made = copy.stat().st_ctime_ns
    embedded.ensure_running(home)
    assert [found.stat().st_ctime_ns for found in home.glob("programs-*")] == [made]
