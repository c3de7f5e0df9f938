"""What fault tests share: a server to crash, runs that halt at a point, and what must hold after.

A *cell* is one run of one command that meets one fault at one point, and the plain rerun after it.
"""

import contextlib
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from fault_child import POINTS, Point
from psycopg import sql
from servers import Server
from trees import Star, Tree, event, query, read_star, song
from waiting import PATIENCE_SECONDS, wait_until

import sparkify_bulk
from sparkify_bulk import tables
from sparkify_bulk.database.server import libpq_environment

CHILD = Path(__file__).parent / "fault_child.py"
REJECTED, FAILED, DATABASE, BUSY = 3, 1, 4, 5
_BEFORE = "fault_before"
_COUNTS = sql.SQL("SELECT {}").format(
    sql.SQL(", ").join(
        sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier("sparkify", name))
        for name in tables.NAMES
    )
)


@dataclass
class Totals:
    """What all cells came to."""

    cells: Counter[str] = field(default_factory=Counter)
    fired: int = 0
    lost: int = 0
    doubled: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a line for the end."""
        self.notes.append(text)

    def to_dict(self) -> dict[str, Any]:
        """Return them as what can be sent to another process."""
        return asdict(self) | {"cells": dict(self.cells)}

    def add(self, others: dict[str, Any]) -> None:
        """Add those of another process."""
        self.cells.update(others["cells"])
        for name in ("fired", "lost", "doubled"):
            setattr(self, name, getattr(self, name) + others[name])
        self.notes += others["notes"]

    def lines(self) -> list[str]:
        """Return a table for the end of the test run."""
        faults = [f"  {number:5} {fault}" for fault, number in sorted(self.cells.items())]
        records = f"{self.lost} records lost, {self.doubled} records doubled"
        return [
            f"{self.cells.total()} cells, {self.fired} faults fired, {records}",
            *faults,
            *self.notes,
        ]


TOTALS = Totals()


# --- the ground -----------------------------------------------------------------------------------


@dataclass
class Ground:
    """A server of the fault tests' own, a star on it, and files that are to be loaded next.

    Attributes:
        server: it may be crashed.
        files: those that the star is made of, and more of them.
        before: the star of the first ones.
        after: the star of all.
        rejects: what a clean run of each command rejects.
    """

    server: Server
    files: Path
    before: Star = field(default_factory=dict)
    after: Star = field(default_factory=dict)
    rejects: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @classmethod
    def prepared(cls, server: Server, folder: Path) -> "Ground":
        """Make it on a running server, with the files in a folder."""
        tree = Tree(folder / "data")
        ground = cls(server, tree.root)
        write_first(tree)
        ground.prepare_star()
        write_more(tree)
        ground.learn()
        return ground

    def prepare_star(self) -> None:
        """Make the star of the first files."""
        self.server.create(_BEFORE)
        dsn = self.server.dsn(_BEFORE)
        sparkify_bulk.reload(self.files, dsn=dsn)
        self.before = read_star(dsn)

    def learn(self) -> None:
        """Learn what a clean run of each command on all files comes to."""
        for command in ("reload", "load"):
            with self.database() as dsn:
                self.rerun(command, dsn)
                self.after = read_star(dsn)
                self.rejects[command] = rejects(dsn)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Make a database that holds the star of the first files; return where it is."""
        name = f"fault_{next(self._numbers)}"
        # PostgreSQL logs numbers of a sequence 32 ahead, in the log of the database that it was
        # copied from: after a crash a copy that no checkpoint has seen would give them out again.
        # One that is copied as files has been seen by one.
        self.server.create(name, _BEFORE)
        yield self.server.dsn(name)
        self.server.drop(name)

    def bytes_sent(self, command: str) -> int:
        """Return how many bytes a clean run of a command sends."""
        with self.database() as dsn, relay_to(self.server) as relay:
            run = Halting(command, self.files, through(relay, dsn), "")
            assert run.end() == REJECTED, run.said()
            return relay.passed

    def seconds(self, command: str) -> float:
        """Return how long a clean run of a command takes."""
        with self.database() as dsn:
            began = time.monotonic()
            run = Halting(command, self.files, dsn, "")
            assert run.end() == REJECTED, run.said()
            return time.monotonic() - began

    def rerun(self, command: str, dsn: str) -> None:
        """Run a command as if nothing had happened."""
        story = getattr(sparkify_bulk, command)
        # The server process of a dead client lets the lock go when it sees that, not before.
        story(self.files, dsn=dsn, jobs=2, retries=0, wait=PATIENCE_SECONDS)


def write_first(tree: Tree) -> None:
    """Write the files that the star is made of."""
    for number in range(1, 6):
        tree.songs(f"A/{number}.json", song(number))
    tree.logs("1.json", *_plays(range(1, 200)), b"{broken")


def write_more(tree: Tree) -> None:
    """Write more files beside the first ones."""
    for number in range(6, 12):
        tree.songs(f"B/{number}.json", song(number))
    tree.songs("B/wrong.json", song(99, title=None))
    tree.logs("2.json", *_plays(range(190, 500)), event(1000, ts="soon"), event(page="Home"))
    tree.logs("3.json", *_plays(range(450, 700)))


def write_night(tree: Tree, night: int, chance: random.Random) -> None:
    """Write what a night brings: a log, now and then a song, a correction, a log sent again."""
    first = 100 * night
    tree.logs(f"{night:03}.json", *_plays(range(first, first + chance.randrange(20, 60))))
    if chance.random() < 0.5:
        tree.songs(f"{night:03}.json", song(chance.randrange(12), title=f"Title {night % 12}"))
    if night and chance.random() < 0.3:
        again = chance.randrange(night)
        plays = _plays(range(100 * again, 100 * again + 70))
        tree.logs(f"{again:03}.json", *plays, b"{broken")


def _plays(items: range) -> list[dict[str, Any]]:
    return [
        event(
            item,
            userId=str(item // 40),
            song=f"Title {item % 12}",
            artist=f"Artist {item % 12}",
            length=200.0 + item % 12,
        )
        for item in items
    ]


def rejects(dsn: str) -> list[tuple[Any, ...]]:
    """Return what the successful runs after the first one rejected; of reloads only the last."""
    return query(
        dsn,
        """
        SELECT kind, file, line, "offset", reason, raw
        FROM sparkify_ledger.rejects JOIN sparkify_ledger.runs AS r USING (run_id)
        WHERE r.status LIKE 'succeeded%' AND run_id > 1 AND (r.command = 'load' OR run_id = (
            SELECT max(run_id) FROM sparkify_ledger.runs WHERE status LIKE 'succeeded%'
        ))
        ORDER BY kind, file, line
        """,
    )


# --- a run that halts -----------------------------------------------------------------------------


class Halting:
    """A run of the command line in a process of its own, which halts at a point."""

    def __init__(
        self,
        command: str,
        data: Path,
        dsn: str,
        point: str,
        *options: str,
        before: Sequence[str] = (),
    ) -> None:
        """Start it; `before` is what the command line begins with."""
        self._say, say = os.pipe()
        hear, self._hear = os.pipe()
        self._words = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the run
        environment = os.environ | {
            "FAULT_POINT": point,
            "FAULT_SAY": str(say),
            "FAULT_HEAR": str(hear),
        }
        words = [
            *before,
            sys.executable,
            CHILD,
            command,
            data,
            "--jobs=2",
            "--json",
            "--quiet",
            *options,
        ]
        self.process = subprocess.Popen(
            [*map(str, words), "--dsn", dsn],
            pass_fds=(say, hear),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        os.close(say)
        os.close(hear)

    def wait_for(self, word: str) -> None:
        """Wait until the run says a word.

        Raises:
            AssertionError: it ended, or took too long.
        """
        assert self.says(word), f"ended before {word!r}: {self.said()}"

    def says(self, word: str) -> bool:
        """Wait until the run says a word, or ends; tell whether it did.

        Raises:
            AssertionError: it took too long.
        """
        said = f"{word}\n".encode()
        with selectors.DefaultSelector() as selector:
            selector.register(self._say, selectors.EVENT_READ)
            while said not in self._words:
                assert selector.select(PATIENCE_SECONDS), f"no {word!r}: {self.said()}"
                words = os.read(self._say, 4096)
                if not words:
                    return False
                self._words += words
        self._words = self._words.replace(said, b"", 1)
        return True

    def go(self) -> None:
        """Let it go on."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._hear, b".")

    def end(self) -> int:
        """Wait for its end; return its exit code."""
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.close()

    def close(self) -> None:
        """Whatever happened, leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._say, self._hear):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._say = self._hear = -1
        if not self._errors.closed:
            self._said = self._read_errors()
            self._errors.close()

    def said(self) -> str:
        """Return what it wrote to stderr."""
        return self._said if self._errors.closed else self._read_errors()

    def wait_until_said(self, text: str) -> None:
        """Wait until it has written a text to stderr.

        Raises:
            AssertionError: it ended, or took too long.
        """
        wait_until(
            lambda: self.process.poll() is not None or text in self.said(),
            lambda: f"no {text!r}: {self.said()}",
        )
        assert text in self.said(), f"ended before {text!r}: {self.said()}"

    def _read_errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()


class Reader(threading.Thread):
    """Somebody who reads the star all the while, and notes how many rows there are."""

    def __init__(self, dsn: str) -> None:
        """Begin."""
        super().__init__(daemon=True)
        self._dsn, self._over, self.seen = dsn, threading.Event(), Counter[tuple[int, ...]]()
        self.errors: list[str] = []
        self.start()

    def run(self) -> None:
        """Read until the end."""
        while not self._over.is_set():
            # The server goes down, and comes back.
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._dsn) as c:
                c.autocommit = True
                while not self._over.wait(0.005):
                    try:
                        self.seen.update([c.execute(_COUNTS).fetchall()[0]])
                    except psycopg.errors.ProgrammingError as error:
                        self.errors.append(str(error))

    def end(self) -> None:
        """Stop reading."""
        self._over.set()
        self.join(PATIENCE_SECONDS)
        assert not self.is_alive()


# --- faults ---------------------------------------------------------------------------------------


@dataclass
class Cell:
    """One run under way, and where a fault is to strike."""

    ground: Ground
    command: str
    point: Point
    dsn: str
    relay: "Relay | None"
    run: Halting


Strike = Callable[[Cell], bool]


def kill(cell: Cell) -> bool:
    """Kill the process: nothing of it can clean up."""
    cell.run.process.kill()
    return cell.run.process.wait() == -signal.SIGKILL


def terminate(cell: Cell) -> bool:
    """Ask the process to end, as a shutdown of the machine does."""
    cell.run.process.terminate()
    cell.run.wait_for("signal")
    return True


def interrupt(cell: Cell) -> bool:
    """Press Ctrl-C."""
    cell.run.process.send_signal(signal.SIGINT)
    cell.run.wait_for("signal")
    return True


def interrupt_twice(cell: Cell) -> bool:
    """Press Ctrl-C, and again; where little is left to clear up, the run may have ended by then."""
    interrupt(cell)
    cell.run.process.send_signal(signal.SIGINT)
    cell.run.says("signal")
    return True


def crash_server(cell: Cell) -> bool:
    """Crash the server, and start it again."""
    cell.ground.server.stop("immediate")
    cell.ground.server.start()
    return True


def restart_server(cell: Cell) -> bool:
    """Restart the server, as an upgrade does."""
    cell.ground.server.stop("fast")
    cell.ground.server.start()
    return True


def end_sessions(cell: Cell) -> bool:
    """End the run's sessions, as an administrator does."""
    ended = query(
        cell.dsn,
        """
        SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'sparkify_bulk'
        """,
    )
    return bool(ended) and all(ended)


def kill_backend(cell: Cell) -> bool:
    """Kill one server process of the run: the server ends all, and empties unlogged tables."""
    ((pid, began),) = query(
        cell.dsn,
        """
        SELECT pid, pg_postmaster_start_time()::text FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'sparkify_bulk'
        ORDER BY pid DESC LIMIT 1
        """,
    )
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError):
            # Back, or not gone yet: the killed one is among those listed until it is.
            listed = query(cell.dsn, "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,))
            recovered = query(cell.dsn, "SELECT pg_postmaster_start_time()::text") == [(began,)]
            if not listed:
                return recovered
    return False


def cut_link(cell: Cell) -> bool:
    """Cut every connection of the run, as a firewall does that forgot them."""
    return cell.relay is not None and cell.relay.cut() > 0


@dataclass(frozen=True)
class Fault:
    """What strikes, and how a run that it strikes may end.

    Attributes:
        strike: does it; returns whether it did.
        exits: exit codes that the run may end with.
        everywhere: at any point, not only while the run has sessions.
    """

    strike: Strike
    exits: frozenset[int]
    everywhere: bool = False


FAULTS = {
    "SIGKILL": Fault(kill, frozenset({-signal.SIGKILL}), everywhere=True),
    "SIGTERM": Fault(terminate, frozenset({143}), everywhere=True),
    "SIGINT": Fault(interrupt, frozenset({130}), everywhere=True),
    # The second one may meet a process that is ending, which Python lets die of it: 130 to a shell.
    "SIGINT twice": Fault(interrupt_twice, frozenset({130, -signal.SIGINT}), everywhere=True),
    "server crashed": Fault(crash_server, frozenset({DATABASE, REJECTED})),
    "server restarted": Fault(restart_server, frozenset({DATABASE, REJECTED})),
    "sessions ended": Fault(end_sessions, frozenset({DATABASE, REJECTED})),
    "backend killed": Fault(kill_backend, frozenset({DATABASE, REJECTED})),
    "link cut": Fault(cut_link, frozenset({DATABASE, REJECTED})),
}


def cells(*, everything: bool) -> Iterator[tuple[str, str, str]]:
    """Yield cells: command, point, fault; every fault at every point.

    Unless all are wanted, a third: each point meets three faults, and where both commands come to
    a point, they take turns.
    """
    for number, (fault, what) in enumerate(FAULTS.items()):
        for place, (name, point) in enumerate(POINTS.items()):
            if not what.everywhere and name == "start":
                continue
            turn, rest = divmod(number + place, 3)
            if everything:
                for command in point.commands:
                    yield command, name, fault
            elif rest == 0:
                yield point.commands[turn % len(point.commands)], name, fault


def points_while_locked(*, everything: bool) -> Iterator[tuple[str, str]]:
    """Yield commands and the points at which a run holds the star; every third, or all."""
    held = [name for name, point in POINTS.items() if name != "start" and not point.published]
    found = [(command, name) for name in held for command in POINTS[name].commands]
    yield from found if everything else found[::3]


def random_cell(chance: random.Random) -> tuple[str, str]:
    """Choose a point and a fault for a load; on every other night none."""
    if chance.random() < 0.5:
        return "", ""
    _, point, fault = chance.choice([cell for cell in cells(everything=True) if cell[0] == "load"])
    return point, fault


@contextlib.contextmanager
def halted(
    ground: Ground,
    command: str,
    point: str,
    dsn: str,
    *options: str,
    before: Sequence[str] = (),
) -> Iterator[Halting]:
    """Start a run on all files, and wait until it halts at a point."""
    run = Halting(command, ground.files, dsn, point, *options, before=before)
    try:
        run.wait_for("reached")
        yield run
    finally:
        run.close()


# --- a link that can fail -------------------------------------------------------------------------


class Relay(threading.Thread):
    """Passes bytes between a socket of its own and the server's, until told to fail.

    `cut_after` cuts everything once the client has sent so many bytes; `swallow` lets requests
    pass, and cuts everything when the server answers: the answer is lost.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        """Listen where libpq looks for a server."""
        super().__init__(daemon=True)
        self.target = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/.s.PGSQL.5432")
        self._listener.listen()
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self.passed = 0
        self.cut_after: int | None = None
        self.swallow = False
        self.cuts = 0
        self.host = str(folder)
        self.start()

    def run(self) -> None:
        """Take connections until closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(f"{self.target.home}/.s.PGSQL.5432")
                except OSError:
                    client.close()
                    server.close()
                    continue
                with self._lock:
                    self._pairs[client] = server
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and self._lets_pass(data, target, is_client):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        # Nobody else reads from this one.
        source.close()

    def _lets_pass(self, data: bytes, target: socket.socket, is_client: bool) -> bool:
        """Tell whether bytes may pass; cut everything, and perhaps them, if they may not."""
        if not is_client:
            if self.swallow:
                self.swallow = False
                self.cut()
                return False
            return True
        self.passed += len(data)
        if self.cut_after is None or self.passed <= self.cut_after:
            return True
        target.sendall(data[: self.cut_after - self.passed])
        self.cut_after = None
        self.cut()
        return False

    def cut(self) -> int:
        """Cut all connections; return how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, {}
        for pair in pairs.items():
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self.cuts += len(pairs)
        return len(pairs)

    def close(self) -> None:
        """End."""
        # Closing alone doesn't wake the thread that waits for connections.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.join(PATIENCE_SECONDS)


@contextlib.contextmanager
def relay_to(server: Server) -> Iterator[Relay]:
    """Put a relay before a server."""
    with tempfile.TemporaryDirectory(prefix="spb_relay_") as folder:
        relay = Relay(Path(folder), server)
        try:
            yield relay
        finally:
            relay.close()


# --- what must hold -------------------------------------------------------------------------------


def check_after(ground: Ground, command: str, dsn: str, fault: str) -> None:
    """Run the command again, and check that everything is as if nothing had happened."""
    ground.rerun(command, dsn)
    TOTALS.cells[fault] += 1
    count_differences(ground.after, read_star(dsn))
    assert rejects(dsn) == ground.rejects[command]
    left = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (%s)"
    assert query(dsn, left, (["sparkify_build", "sparkify_staging"],)) == []
    running = "SELECT run_id FROM sparkify_ledger.runs WHERE status = 'running'"
    assert query(dsn, running) == []
    assert locks(dsn) == 0


def locks(dsn: str) -> int:
    """Count the locks of stars that are held in a database."""
    held = """
        SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    ((number,),) = query(dsn, held)
    return int(number)


def count_differences(expected: Star, star: Star) -> None:
    """Count the rows that a star lacks, and those it has more than once or wrong."""
    lost = sum((Counter(expected[name]) - Counter(star[name])).total() for name in expected)
    doubled = sum((Counter(star[name]) - Counter(expected[name])).total() for name in expected)
    TOTALS.lost += lost
    TOTALS.doubled += doubled
    assert (lost, doubled) == (0, 0)


def take_all_connections(stack: contextlib.ExitStack, dsn: str) -> None:
    """Connect until the server is full."""
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            stack.enter_context(psycopg.connect(dsn))


def wait_until_somebody_waits(dsn: str) -> None:
    """Wait until a session of this database waits for a lock."""
    waits = """
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    wait_until(lambda: query(dsn, waits), "nobody waits for a lock")


def through(relay: Relay, dsn: str) -> str:
    """Return a database's connection string by way of a relay."""
    database = libpq_environment(dsn)["PGDATABASE"]
    return f"host={relay.host} user=postgres dbname={database}"


def run_cell(ground: Ground, command: str, name: str, fault: str) -> None:
    """Let a run halt at a point, let the fault strike, and check what must hold."""
    point, what = POINTS[name], FAULTS[fault]
    with ground.database() as dsn, relay_to(ground.server) as relay:
        reader = Reader(dsn)
        run = Halting(command, ground.files, through(relay, dsn), name, "--retries=0")
        try:
            run.wait_for("reached")
            fired = what.strike(Cell(ground, command, point, dsn, relay, run))
            run.go()
            code = run.end()
            TOTALS.fired += fired
            assert fired
            assert code in what.exits, run.said()
            star = read_star(dsn)
            done = code == REJECTED or point.published
            assert star == (ground.after if done else ground.before), run.said()
            check_after(ground, command, dsn, fault)
        finally:
            run.close()
            reader.end()
        assert not reader.errors
        whole = {tuple(len(rows) for rows in s.values()) for s in (ground.before, ground.after)}
        assert set(reader.seen) <= whole
        assert reader.seen
