"""What the benchmarks of one quality share: measured runs of the product, tables and JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkify_bulk.bench.measure import Measured, measure
from sparkify_bulk.commands import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparkify_bulk.bench.ground import Place


HEADINGS = {
    "events_per_second": "events/s",
    "files_per_second": "files/s",
    "megabytes_per_second": "MB/s",
    "client_cpu_seconds": "client CPU s",
    "peak_rss_megabytes": "peak MB",
}


def parser(description: str | None, output: str) -> argparse.ArgumentParser:
    """Return a command line with what all have in common."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    made.add_argument("--seed", type=int, default=1, help="of the generated data")
    made.add_argument("--output", type=Path, default=Path(output), help="the JSON file to write")
    return made


def numbers(text: str) -> list[int]:
    """Read numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def run_product(place: Place, command: str, data: Path, schema: str, *options: str) -> Measured:
    """Run `sparkify-bulk reload` or `load` as a whole process.

    Raises:
        SystemExit: it failed.
    """
    words = [sys.executable, "-m", "sparkify_bulk", command, str(data), "--quiet", *options]
    measured = measure([*words, "--dsn", place.dsn, "--schema", schema], place.environment)
    return succeeded(measured)


def succeeded(measured: Measured) -> Measured:
    """Return what was measured of a command that ended well; end with its words if it didn't."""
    if measured.exit_code:
        sys.exit(f"exit code {measured.exit_code}: {measured.said}")
    return measured


def median(measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the medians of several rounds, the highest peak, and each round's seconds."""
    return {
        "seconds": round(statistics.median(one.seconds for one in measured), 3),
        "client_cpu_seconds": round(statistics.median(one.cpu_seconds for one in measured), 3),
        "peak_rss_megabytes": round(max(one.peak_rss_bytes for one in measured) / 10**6, 1),
        "rounds": [round(one.seconds, 3) for one in measured],
    }


def show(rows: Sequence[dict[str, Any]], output: Path, **about: Any) -> None:  # noqa: ANN401
    """Print rows as a table, without what isn't a number or a word, and write all of it as JSON."""
    columns = [name for name, value in rows[0].items() if isinstance(value, int | float | str)]
    headings = [HEADINGS.get(name, name.replace("_", " ")) for name in columns]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    tables.console().print(tables.listing(headings, cells))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(about | {"results": list(rows)}, indent=2) + "\n")
    print(f"Written: {output}")


def _cell(value: float | str) -> str | int:
    return f"{value:,.2f}" if isinstance(value, float) else value
