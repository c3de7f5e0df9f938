"""Compare ways to load one tree into one star on one server: whole processes, taken in turn.

Every contender fills a schema of its own, which is compared with the product's star before any of
its times counts. The floor is the server alone, which copies the finished tables.
"""

import ast
import contextlib
import importlib.util
import json
import logging
import os
import platform
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sparkify_bulk import __version__, pipeline
from sparkify_bulk.bench.measure import Measured, measure, server_cpu
from sparkify_bulk.database.connection import Connection, check_server, connect, describe
from sparkify_bulk.database.server import find_server, open_connection
from sparkify_bulk.errors import SparkifyBulkError, UsageError
from sparkify_bulk.loading.context import Unwatched, Watch
from sparkify_bulk.report import Phase, Report
from sparkify_bulk.settings import Settings, default_jobs, schemas
from sparkify_bulk.source.input import input_folders
from sparkify_bulk.tables import NAMES, SONGPLAYS, STAR, Table

logger = logging.getLogger("sparkify_bulk")

PRODUCT, FLOOR = "sparkify-bulk", "floor"
SLOW = ("row-by-row-autocommit",)
"""Takes so long that it only runs where it is named."""

SERVER_SETTINGS = (
    "server_version", "wal_level", "fsync", "synchronous_commit", "full_page_writes",
    "max_wal_size", "checkpoint_timeout", "shared_buffers", "maintenance_work_mem",
    "max_parallel_maintenance_workers",
)  # fmt: skip

_PREFIX = "sparkify_bench_"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_DONE, _DONE_WITH_REJECTS = 0, 3
_PACKAGE = Path(__file__).parent.parent
# How many milliseconds a session of a contender that was stopped gets to end.
_PATIENCE_MS = 30_000


class BenchError(SparkifyBulkError):
    """A contender failed, or ended in another star than the product's."""


# --- contenders -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to load a tree: a script that is run as `python SCRIPT DSN SCHEMA DATA`.

    `missing` names the packages that it imports and that aren't installed.
    """

    name: str
    title: str
    script: Path | None
    missing: tuple[str, ...] = ()


def folder() -> Path:
    """Return the folder of the benchmarks: inside a wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "benchmarks"
    return inside if inside.is_dir() else _PACKAGE.parent / "benchmarks"


def contenders() -> dict[str, Contender]:
    """Return all contenders by name, the slowest way first; others' loaders follow."""
    order = (
        "row-by-row-autocommit", "row-by-row", "executemany", "insert-values", "insert-unnest",
        "copy-write-row", "copy-csv", "adbc", "copy-binary",
    )  # fmt: skip
    own = {c.name: c for c in map(_contender, _scripts("contenders"))}
    known = [own[name] for name in order] + [own[name] for name in own if name not in order]
    product = Contender(PRODUCT, "The whole product: sparkify-bulk reload.", None)
    others = map(_contender, _scripts("others"))
    floor = own[FLOOR]
    found = (*(c for c in known if c is not floor), product, floor, *others)
    return {contender.name: contender for contender in found}


def _scripts(name: str) -> list[Path]:
    return sorted(path for path in (folder() / name).glob("*.py") if path.stem[0] != "_")


def _contender(script: Path) -> Contender:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    title = (ast.get_docstring(tree) or script.stem).splitlines()[0]
    return Contender(script.stem.replace("_", "-"), title, script, tuple(_missing(tree, script)))


def _missing(tree: ast.Module, script: Path) -> Iterator[str]:
    """Yield the packages that a script imports as it starts, and that can't be found."""
    for node in tree.body:
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in (name.split(".")[0] for name in names):
            ours = (script.with_name(f"{name}.py"), folder() / "contenders" / f"{name}.py")
            if not any(path.exists() for path in ours) and importlib.util.find_spec(name) is None:
                yield name


def choose(names: Sequence[str]) -> list[Contender]:
    """Return the contenders named; all of the first set that aren't too slow if none is.

    Raises:
        UsageError: there is none of that name, or it needs what isn't installed.
    """
    known = contenders()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no contender {', '.join(unknown)}", hint=f"there are {', '.join(known)}")
    first = [c for c in known.values() if c.script is None or c.script.parent.name == "contenders"]
    wanted = [known[name] for name in dict.fromkeys(names)] or [
        contender for contender in first if contender.name not in SLOW
    ]
    lacking = {c.name: c.missing for c in wanted if c.missing}
    if lacking and names:
        said = "; ".join(f"{name} needs {', '.join(what)}" for name, what in lacking.items())
        raise UsageError(said, hint="install them beside sparkify-bulk, e.g. sparkify-bulk[bench]")
    for name, what in lacking.items():
        logger.warning("Left out: %s needs %s", name, ", ".join(what))
    return [contender for contender in wanted if not contender.missing]


# --- the ground -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a benchmark works: a server, and schemas of its own there.

    Attributes:
        address: the server's connection string.
        dsn: the same for the commands measured, without the password: the process list shows it.
        environment: of the commands measured.
        prefix: begins the name of every schema made.
    """

    address: str
    dsn: str
    environment: dict[str, str]
    prefix: str


@contextlib.contextmanager
def open_place(dsn: str | None) -> Iterator[Place]:
    """Find the server; in the end, leave no session and no schema, whatever happens.

    Args:
        dsn: the server; None for the one that a run would take.
    """
    address, _ = find_server(dsn)
    prefix = f"{_PREFIX}{secrets.token_hex(4)}"
    with open_connection(address) as connection:
        check_server(connection)
    try:
        yield Place(address, *_for_contenders(address, prefix), prefix)
    finally:
        _clean(address, prefix)


@dataclass(slots=True)
class Ground:
    """What contenders compete on: a place, a tree, and the star that it becomes.

    Attributes:
        place: where.
        connection: looks at what they leave.
        data: the tree.
        reference: the product's report on the star that others are compared with.
        floor: the folder of the finished tables' rows; None where there is no need for it.
        floor_reads: whether the server reads that folder itself.
        checkpoints: whether this role may ask for checkpoints.
    """

    place: Place
    connection: Connection
    data: Path
    reference: Report
    floor: Path | None = None
    floor_reads: bool = False
    checkpoints: bool = False

    @property
    def star(self) -> str:
        """The schema of the product's star that others are compared with."""
        return f"{self.place.prefix}_star"


@contextlib.contextmanager
def open_ground(
    dsn: str | None, data: Path, watch: Watch | None = None, *, floor: bool = True
) -> Iterator[Ground]:
    """Load the tree by the product, untimed; leave nothing behind, whatever happens.

    That reads every file once, so that no contender pays for a cold disk.

    Args:
        dsn: the server; None for the one that a run would take.
        data: the tree.
        watch: told how it goes on.
        floor: write the finished tables into files, for the floor to copy.
    """
    songs, logs = input_folders(data, None, None)
    with (
        contextlib.ExitStack() as stack,
        open_place(dsn) as place,
        open_connection(place.address) as connection,
    ):
        star = f"{place.prefix}_star"
        began = _begin(watch, "product's star")
        reference = pipeline.reload(
            Settings(songs, logs, dsn=place.address or None, schema=star), Unwatched()
        )
        _end(watch, "product's star", began)
        _settle(connection, star)
        connection.execute("SET jit = off; SET work_mem = '256MB'")
        ground = Ground(place, connection, data, reference)
        ground.checkpoints = checkpoint(connection)
        if floor:
            ground.floor = stack.enter_context(_floor_folder())
            _write_floor(ground, ground.floor)
            ground.floor_reads = _server_reads(connection, ground.floor)
        yield ground


def _for_contenders(dsn: str, name: str) -> tuple[str, dict[str, str]]:
    """Return the connection string and the environment that contenders get."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SPARKIFY_BULK_") and key != "DATABASE_URL"
    }
    parameters = conninfo_to_dict(dsn)
    if password := parameters.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **(parameters | {"application_name": name})), environment


def _clean(dsn: str, prefix: str) -> None:
    """End the sessions of contenders that were stopped, and drop every schema made."""
    try:
        with connect(dsn) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
                " WHERE application_name = %s",
                (_PATIENCE_MS, prefix),
            )
            _drop(connection, prefix)
    except (psycopg.Error, SparkifyBulkError) as error:
        logger.warning("Schemas named %s… may be left behind: %s", prefix, error)


def _drop(connection: Connection, prefix: str) -> None:
    found = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (prefix,)
    ).fetchall()
    for (name,) in found:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _settle(connection: Connection, star: str) -> None:
    """Do now what autovacuum would do to the product's star while the first contenders run."""
    names = schemas(star)
    tables = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (%s)",
        ([names.star, names.ledger],),
    ).fetchall()
    for table in tables:
        name = sql.Identifier(*table)
        connection.execute(sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = off)").format(name))
        connection.execute(sql.SQL("VACUUM {}").format(name))


def checkpoint(connection: Connection) -> bool:
    """Write what is due before somebody's time runs; tell whether this role may ask for it."""
    try:
        connection.execute("CHECKPOINT")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _begin(watch: Watch | None, phase: str) -> float:
    if watch:
        watch.begin(phase)
    return time.monotonic()


def _end(watch: Watch | None, phase: str, began: float) -> None:
    if watch:
        watch.end(Phase(phase, round(time.monotonic() - began, 3)))


# --- the floor ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _floor_folder() -> Iterator[Path]:
    """Make a folder that the server's account can read files in, if it knows their names."""
    with tempfile.TemporaryDirectory(prefix="sparkify-bench-") as above:
        made = Path(above, secrets.token_hex(16))
        made.mkdir()
        for path in (Path(above), made):
            path.chmod(0o711)
        yield made


def _write_floor(ground: Ground, place: Path) -> None:
    """Write the finished tables' rows, and what is built on them."""
    connection = ground.connection
    for table in STAR:
        path = place / f"{table.name}.copy"
        statement = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(
            sql.Identifier(ground.star, table.name)
        )
        with path.open("wb") as file, connection.cursor() as cursor:
            path.chmod(0o644)
            with cursor.copy(statement) as stream:
                for block in stream:
                    file.write(block)
    (place / "recipe.json").write_text(json.dumps(_recipe(connection, ground.star)))


def _recipe(connection: Connection, star: str) -> dict[str, Any]:
    """Return the definitions of a star's indexes, and of the keys and references made of them.

    The server's own words, so that the floor builds what the product builds, whatever that is.
    """
    with connection.transaction():
        _look_at(connection, star)
        indexes = connection.execute(
            """
            SELECT r.relname, pg_get_indexdef(i.indexrelid)
            FROM pg_index AS i
            INNER JOIN pg_class AS r ON r.oid = i.indrelid
            WHERE r.relnamespace = %s::regnamespace AND r.relname = ANY (%s)
            ORDER BY pg_relation_size(i.indexrelid) DESC
            """,
            (star, list(NAMES)),
        ).fetchall()
        constraints = connection.execute(
            """
            SELECT r.relname, c.contype::text, c.conname, pg_get_constraintdef(c.oid), x.relname
            FROM pg_constraint AS c
            INNER JOIN pg_class AS r ON r.oid = c.conrelid
            LEFT JOIN pg_class AS x ON x.oid = c.conindid AND c.contype <> 'f'
            WHERE r.relnamespace = %s::regnamespace
                AND r.relname = ANY (%s)
                AND c.contype IN ('p', 'u', 'f')
            ORDER BY c.oid
            """,
            (star, list(NAMES)),
        ).fetchall()
    keys: dict[str, list[str]] = {}
    references: dict[str, list[str]] = {}
    for table, kind, name, definition, index in constraints:
        if kind == "f":
            references.setdefault(table, []).append(f'ADD CONSTRAINT "{name}" {definition}')
        else:
            words = "PRIMARY KEY" if kind == "p" else "UNIQUE"
            change = f'ADD CONSTRAINT "{name}" {words} USING INDEX "{index}"'
            keys.setdefault(table, []).append(change)
    return {
        "indexes": [
            {"table": table, "definition": definition.replace(f" ON {star}.", " ON ")}
            for table, definition in indexes
        ],
        "keys": keys,
        "references": references,
    }


def _look_at(connection: Connection, schema: str) -> None:
    connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (schema,))


def _server_reads(connection: Connection, place: Path) -> bool:
    """Tell whether the server can read the floor's files: it has the right, and sees the folder."""
    statement = sql.SQL("COPY probe FROM {} (FORMAT binary)").format(
        sql.Literal(str(place / "users.copy"))
    )
    try:
        with connection.transaction():
            columns = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL(c.type))
                for c in next(table for table in STAR if table.name == "users").all_columns
            )
            connection.execute(sql.SQL("CREATE TEMPORARY TABLE probe ({})").format(columns))
            connection.execute(statement)
            connection.execute("DROP TABLE probe")
    except psycopg.Error:
        return False
    return True


# --- one contender --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Time:
    """What one contender took in one round; `server_cpu_seconds` is None for a server elsewhere."""

    round: int
    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float | None
    peak_rss_bytes: int


def compete(ground: Ground, contender: Contender, number: int = 1) -> Time:
    """Let a contender load the tree; compare its star with the product's; drop it.

    Raises:
        BenchError: it failed, or its star is another.
    """
    checkpoint(ground.connection)
    before = _server_cpu(ground.connection)
    measured = launch(ground, contender)
    after = _server_cpu(ground.connection)
    judge(ground, contender, measured)
    used = None if before is None or after is None else round(after - before, 2)
    return Time(
        number,
        round(measured.seconds, 3),
        round(measured.cpu_seconds, 3),
        used,
        measured.peak_rss_bytes,
    )


def launch(ground: Ground, contender: Contender) -> Measured:
    """Let a contender load the tree into a schema of its own."""
    schema = _schema(ground, contender)
    if contender.script is None:
        reload = ["-m", "sparkify_bulk", "reload", str(ground.data), "--quiet"]
        command = [sys.executable, *reload, "--dsn", ground.place.dsn, "--schema", schema]
    else:
        command = [sys.executable, str(contender.script), ground.place.dsn, schema]
        if contender.name != FLOOR:
            command.append(str(ground.data))
        else:
            command += [str(ground.floor), *([] if ground.floor_reads else ["--stdin"])]
    return measure(command, ground.place.environment)


def judge(ground: Ground, contender: Contender, measured: Measured) -> None:
    """Compare a contender's star with the product's, and drop it.

    Raises:
        BenchError: the contender failed, or its star is another.
    """
    schema = _schema(ground, contender)
    try:
        done = (_DONE, _DONE_WITH_REJECTS) if contender.script is None else (_DONE,)
        if measured.exit_code not in done:
            last = (measured.said.splitlines() or ["it said nothing"])[-1]
            raise BenchError(f"{contender.name} failed with code {measured.exit_code}: {last}")
        if found := differences(ground.connection, schema, ground.star):
            raise BenchError(f"{contender.name} made another star: {'; '.join(found)}")
    finally:
        _drop(ground.connection, schema)


def _schema(ground: Ground, contender: Contender) -> str:
    return f"{ground.place.prefix}_{contender.name.replace('-', '_')}"


def _server_cpu(connection: Connection) -> float | None:
    """Return the server's CPU seconds so far, where it runs on this machine."""
    host = connection.info.host
    local = not host or host.startswith("/") or host in _LOCAL_HOSTS
    return server_cpu(connection.info.backend_pid) if local else None


# --- equality -------------------------------------------------------------------------------------


def differences(connection: Connection, schema: str, reference: str) -> list[str]:
    """Return in what a star differs from another: rows of the contract's columns, keys, indexes."""
    found: list[str] = []
    for table in STAR:
        try:
            with connection.transaction():
                found += _row_differences(connection, table, schema, reference)
        except psycopg.Error as error:
            found.append(f"{table.name}: {error.diag.message_primary}")
    if not found:
        found += _key_differences(connection, schema, reference)
    return found


def _row_differences(
    connection: Connection, table: Table, schema: str, reference: str
) -> Iterator[str]:
    names = [c.name for c in table.columns if (table, c.name) != (SONGPLAYS, SONGPLAYS.primary_key)]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    theirs, ours = (
        sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(name, table.name))
        for name in (schema, reference)
    )
    for what, first, second in (("missing", ours, theirs), ("too many", theirs, ours)):
        query = sql.SQL("SELECT count(*), min(d::text) FROM ({} EXCEPT ALL {}) AS d").format(
            first, second
        )
        count, example = connection.execute(query).fetchone() or (0, "")
        if count:
            yield f"{table.name}: {count:,} rows {what}, such as {example}"


def _key_differences(connection: Connection, schema: str, reference: str) -> list[str]:
    theirs, ours = (_keys(connection, name) for name in (schema, reference))
    return [f"no {key}" for key in sorted(ours - theirs)] + [
        f"{key} is none of the product's" for key in sorted(theirs - ours)
    ]


def _keys(connection: Connection, schema: str) -> set[str]:
    """Return what is built on a star's tables, whatever it is called."""
    recipe = _recipe(connection, schema)
    named = re.compile(r'CREATE (UNIQUE )?INDEX \S+ ON \S+|ADD CONSTRAINT "[^"]*"')
    found = [(i["table"], i["definition"]) for i in recipe["indexes"]]
    found += [(t, change) for t, all_ in recipe["references"].items() for change in all_]
    found += [
        (t, change.split(" USING ")[0]) for t, all_ in recipe["keys"].items() for change in all_
    ]
    return {
        f"{table}: {named.sub(lambda m: 'unique ' if m[1] else '', text).strip()}"
        for table, text in found
    }


# --- the comparison -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the generated tree is."""

    events: int
    songs: int
    seed: int
    days: int = 30


@dataclass(slots=True)
class Result:
    """What became of a contender."""

    contender: Contender
    times: list[Time] = field(default_factory=list)
    error: str | None = None

    @property
    def median(self) -> float | None:
        """The median of its seconds."""
        return statistics.median(t.seconds for t in self.times) if self.times else None


def bench(
    dsn: str | None,
    data: Path | None,
    *,
    sizes: Sizes,
    rounds: int,
    names: Sequence[str] = (),
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Compare contenders, in turn and round by round; return the document that bench.json holds.

    Args:
        dsn: the server; None for the one that a run would take.
        data: the tree to load; None for a generated one.
        sizes: of the generated tree.
        rounds: how often each contender runs.
        names: the contenders; empty for all but the slowest.
        watch: told how it goes on.

    Raises:
        SparkifyBulkError: no contender could be compared.
    """
    chosen = choose(names)
    started = datetime.now(UTC)
    with contextlib.ExitStack() as stack:
        tree = data or stack.enter_context(generated(sizes, watch))
        floor = any(contender.name == FLOOR for contender in chosen)
        ground = stack.enter_context(open_ground(dsn, tree, watch, floor=floor))
        results = _play(ground, chosen, rounds, watch)
        return {
            "version": __version__,
            "started_at": started.isoformat(timespec="seconds"),
            "machine": _machine(),
            "server": _server(ground, floor=floor),
            "data": _data(ground.reference, None if data else sizes),
            "rounds": rounds,
            "contenders": [_document(result, results) for result in results],
        }


@contextlib.contextmanager
def generated(sizes: Sizes, watch: Watch | None = None) -> Iterator[Path]:
    """Generate a tree, and remove it in the end."""
    with tempfile.TemporaryDirectory(prefix="sparkify-bench-") as made:
        began = _begin(watch, "generate data")
        numbers = [f"--{name}={number}" for name, number in asdict(sizes).items()]
        script = str(folder() / "generate.py")
        done = measure([sys.executable, script, made, *numbers])
        if done.exit_code:
            raise BenchError(f"no data could be generated: {done.said}")
        _end(watch, "generate data", began)
        yield Path(made)


def _play(
    ground: Ground, chosen: Sequence[Contender], rounds: int, watch: Watch | None
) -> list[Result]:
    results = [Result(contender) for contender in chosen]
    for number in range(rounds):
        # Another one begins each round, so that none always comes after the same one.
        turn = number % len(results)
        for result in results[turn:] + results[:turn]:
            if result.error:
                continue
            name = f"{number + 1} {result.contender.name}"
            began = _begin(watch, name)
            try:
                taken = compete(ground, result.contender, number + 1)
                result.times.append(taken)
                if watch:
                    watch.end(Phase(name, taken.seconds))
            except BenchError as error:
                # Some rounds of a contender that failed in another would be no result.
                result.error = error.message
                result.times.clear()
                logger.warning("%s", error.message)
                _end(watch, name, began)
    return results


def _document(result: Result, results: Sequence[Result]) -> dict[str, Any]:
    floor = next((r.median for r in results if r.contender.name == FLOOR), None)
    median = result.median
    document: dict[str, Any] = {
        "name": result.contender.name,
        "title": result.contender.title,
        "median_seconds": median,
        "min_seconds": min((t.seconds for t in result.times), default=None),
        "ratio_to_floor": round(median / floor, 3) if median and floor else None,
    }
    for name in ("client_cpu_seconds", "server_cpu_seconds", "peak_rss_bytes"):
        values = [getattr(time_, name) for time_ in result.times]
        known = [value for value in values if value is not None]
        document[name] = (
            (max if name.startswith("peak") else statistics.median)(known) if known else None
        )
    document["rounds"] = [
        {name: getattr(time_, name) for name in Time.__slots__} for time_ in result.times
    ]
    return document | ({"error": result.error} if result.error else {})


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "processors": default_jobs(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "python": platform.python_version(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _server(ground: Ground, *, floor: bool) -> dict[str, Any]:
    values = {}
    for name in SERVER_SETTINGS:
        row = ground.connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        values[name] = row[0] if row else None
    return {
        "target": describe(ground.connection),
        "settings": values,
        "checkpoint_before_each": ground.checkpoints,
        "floor_reads": ("files" if ground.floor_reads else "client") if floor else None,
    }


def _data(reference: Report, sizes: Sizes | None) -> dict[str, Any]:
    books = {"songs": reference.input.songs, "events": reference.input.events}
    read = {
        f"{kind}_{what}": getattr(book, what)
        for kind, book in books.items()
        for what in ("files", "bytes", "records", "rejected")
    }
    rows = {name: table.rows for name, table in reference.tables.items()}
    return {"generated_with_seed": sizes.seed if sizes else None, **read, "rows": rows}


def write(document: Mapping[str, Any], output: Path) -> list[Path]:
    """Write bench.json and the chart; return the files."""
    from sparkify_bulk.bench import chart  # noqa: PLC0415 - takes a second to import

    path = output / "bench.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return [path, *chart.draw(document, output)]
