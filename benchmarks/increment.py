"""Does a nightly load take as long on a large star as on a small one?

    python benchmarks/increment.py --dsn DSN --sizes 1000000,10000000

Two stars are loaded, with the same songs and so many events each. Then a day of events comes, and
another one each round, and `sparkify-bulk load` takes it in as a whole process, onto one star and
the other in turn.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from _shared import median, numbers, parser, run_product, show, succeeded

from sparkify_bulk.bench import comparison, contenders, ground
from sparkify_bulk.bench.measure import measure

FIRST_NIGHT = dt.date(2024, 6, 5)
"""The day after the generated month."""


def main() -> None:
    """Read the command line, measure, print."""
    arguments = parser(__doc__, "bench/increment.json")
    arguments.add_argument("--dsn", help="the server; else the one that a run would take")
    arguments.add_argument("--sizes", type=numbers, default="1000000,10000000", help="events")
    arguments.add_argument("--songs", type=int, default=10_000, help="songs, the same in all stars")
    arguments.add_argument("--day", type=int, default=30_000, help="events of a day")
    given = arguments.parse_args()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(ground.open_place(given.dsn))
        stars: dict[int, tuple[Path, str]] = {}
        for events in given.sizes:
            sizes = comparison.Sizes(events, given.songs, given.seed)
            data = stack.enter_context(comparison.generated(sizes))
            stars[events] = data, f"{place.prefix}_{events}"
            run_product(place, "reload", data, stars[events][1])
        measured: dict[int, list[Any]] = {events: [] for events in stars}
        for night in range(given.rounds):
            for data, _ in stars.values():
                _add_day(data, FIRST_NIGHT + dt.timedelta(days=night), given)
            for events, (data, schema) in stars.items():
                measured[events].append(run_product(place, "load", data, schema))
        rows: list[dict[str, Any]] = [
            {"events_before": events, "events_of_the_day": given.day} | median(taken)
            for events, taken in measured.items()
        ]
    for row in rows:
        row["ratio_to_first"] = round(row["seconds"] / rows[0]["seconds"], 3)
    show(rows, given.output, seed=given.seed, songs=given.songs)


def _add_day(data: Path, day: dt.date, given: Any) -> None:  # noqa: ANN401 - argparse's
    """Add a day's log to a tree; its plays are of the tree's own songs, made by the same seed."""
    with tempfile.TemporaryDirectory(prefix="sparkify-bench-") as made:
        words = [made, f"--events={given.day}", f"--songs={given.songs}", f"--seed={given.seed}"]
        when = [f"--start={day}", "--days=1"]
        script = str(contenders.folder() / "generate.py")
        succeeded(measure([sys.executable, script, *words, *when]))
        shutil.copytree(Path(made, "log_data"), data / "log_data", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
