"""Compare ways to load one tree into one star on one server: whole processes, taken in turn.

Every contender fills a schema of its own, which is compared with the product's star before any of
its times counts. The floor is the server alone, which copies the finished tables.
"""

import contextlib
import json
import logging
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from sparkify_bulk import __version__
from sparkify_bulk.bench.contenders import FLOOR, BenchError, Contender, choose, folder
from sparkify_bulk.bench.contest import Time, compete
from sparkify_bulk.bench.ground import Ground, begin, end, open_ground
from sparkify_bulk.bench.measure import measure
from sparkify_bulk.database.connection import describe
from sparkify_bulk.loading.context import Watch
from sparkify_bulk.report import Phase, Report
from sparkify_bulk.settings import default_jobs
from sparkify_bulk.source.folder import Folder
from sparkify_bulk.source.input import input_folders
from sparkify_bulk.source.listing import LeftOut
from sparkify_bulk.source.stores import open_store

logger = logging.getLogger("sparkify_bulk")

SERVER_SETTINGS = (
    "server_version", "wal_level", "fsync", "synchronous_commit", "full_page_writes",
    "max_wal_size", "checkpoint_timeout", "shared_buffers", "maintenance_work_mem",
    "max_parallel_maintenance_workers",
)  # fmt: skip


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
    data: str | Path | None,
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
        tree = stack.enter_context(on_disk(data) if data else generated(sizes, watch))
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
        began = begin(watch, "generate data")
        numbers = [f"--{name}={number}" for name, number in asdict(sizes).items()]
        script = str(folder() / "generate.py")
        done = measure([sys.executable, script, made, *numbers])
        if done.exit_code:
            raise BenchError(f"no data could be generated: {done.said}")
        end(watch, "generate data", began)
        yield Path(made)


@contextlib.contextmanager
def on_disk(address: str | Path) -> Iterator[Path]:
    """Copy a bucket to a temporary folder; a folder is used where it is.

    Raises:
        SparkifyBulkError: the bucket can't be read.
    """
    tree = open_store(address)
    if isinstance(tree, Folder):
        yield Path(tree.address)
        return
    with tempfile.TemporaryDirectory(prefix="sparkify-bench-") as made:
        for root in filter(None, input_folders(address, None, None)):
            store = open_store(root)
            for entry in chain.from_iterable(store.list_files(LeftOut())):
                copy = Path(made, PurePosixPath(root).name, entry.path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with (
                    store.open(entry.path) as file,
                    file.stream() as stream,
                    copy.open("wb") as out,
                ):
                    shutil.copyfileobj(stream, out)
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
            began = begin(watch, name)
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
                end(watch, name, began)
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
    counts = {"songs": reference.input.songs, "events": reference.input.events}
    read = {
        f"{kind}_{what}": getattr(numbers, what)
        for kind, numbers in counts.items()
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
