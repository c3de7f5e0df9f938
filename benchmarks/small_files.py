"""What do many small files cost? Listing, reading and parsing alone, no database.

    python benchmarks/small_files.py --files 10000,100000 --events 100000

First so many files of one song each; then the same events in 30 large logs and in 3,000 small ones.
Each is a whole process, but the rate is of what it does between its imports and its end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _shared import median, numbers, parser, show, succeeded

from sparkify_bulk.bench import comparison
from sparkify_bulk.bench.measure import Measured, measure

PIECES = 100


def main() -> None:
    """Read the command line, measure, print."""
    arguments = parser(__doc__, "bench/small_files.json")
    arguments.add_argument("--files", type=numbers, default="10000,100000", help="of one song")
    arguments.add_argument("--events", type=int, default=100_000, help="in large and small logs")
    arguments.add_argument("--jobs", type=int, default=2, help="workers")
    arguments.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.read:
        _read(*given.read, given.jobs)
        return
    rows = []
    for files in given.files:
        with comparison.generated(comparison.Sizes(1, files, given.seed)) as data:
            rows.append(measure_reading("songs", data / "song_data", given))
    with (
        comparison.generated(comparison.Sizes(given.events, 1, given.seed)) as data,
        tempfile.TemporaryDirectory(prefix="sparkify-bench-") as small,
    ):
        _cut(data / "log_data", Path(small))
        for folder in (data / "log_data", Path(small)):
            rows.append(measure_reading("events", folder, given))  # noqa: PERF401 - in turn
    show(rows, given.output, seed=given.seed, jobs=given.jobs)


def measure_reading(kind: str, folder: Path | str, given: argparse.Namespace) -> dict[str, Any]:
    """Read a tree several times, after once that doesn't count."""
    command = [sys.executable, __file__, "--read", kind, str(folder), f"--jobs={given.jobs}"]
    measured = [succeeded(measure(command)) for _ in range(given.rounds + 1)][1:]
    said = [json.loads(one.said) for one in measured]
    inside = [
        Measured(words["seconds"], one.cpu_seconds, one.peak_rss_bytes, 0, "")
        for one, words in zip(measured, said, strict=True)
    ]
    seconds = statistics.median(words["seconds"] for words in said)
    return {
        "kind": kind,
        "files": said[0]["files"],
        "accepted": said[0]["accepted"],
        "files_per_second": round(said[0]["files"] / seconds),
        "megabytes_per_second": round(said[0]["bytes"] / seconds / 10**6),
    } | median(inside)


def _read(kind: str, folder: str, jobs: int) -> None:
    """List, read and parse as a run does."""
    # Not in the measured part.
    from sparkify_bulk.extract.batch import extract  # noqa: PLC0415
    from sparkify_bulk.extract.counts import add_up  # noqa: PLC0415
    from sparkify_bulk.settings import Settings  # noqa: PLC0415
    from sparkify_bulk.source.batches import KINDS, Batch  # noqa: PLC0415
    from sparkify_bulk.source.manifest import begin_listing, make_manifest  # noqa: PLC0415
    from sparkify_bulk.source.stores import open_store  # noqa: PLC0415

    def accepted(batch: Batch) -> int:
        found, counts = 0, []
        for part in extract(batch):
            found += part.frame.height
            counts.append(part.counts())
        add_up(batch.files, counts)
        return found

    folders = [folder if kind == one else None for one in KINDS]
    began = time.perf_counter()
    with begin_listing(Settings(*folders, jobs=jobs), read=True) as listers:
        ((named, lister),) = listers.items()
        manifest = make_manifest(named, open_store(folder), listing=lister)
        with ThreadPoolExecutor(jobs) as pool:
            found = sum(pool.map(accepted, manifest.batches))
    seconds = time.perf_counter() - began
    said = {"files": manifest.files, "bytes": manifest.size, "accepted": found, "seconds": seconds}
    print(json.dumps(said))


def _cut(large: Path, small: Path) -> None:
    """Cut each log into pieces of whole lines."""
    for path in sorted(large.rglob("*.json")):
        lines = path.read_bytes().splitlines(keepends=True)
        with contextlib.suppress(FileExistsError):
            (small / path.stem).mkdir()
        for piece in range(PIECES):
            some = lines[len(lines) * piece // PIECES : len(lines) * (piece + 1) // PIECES]
            (small / path.stem / f"{piece:03}.json").write_bytes(b"".join(some))


if __name__ == "__main__":
    main()
