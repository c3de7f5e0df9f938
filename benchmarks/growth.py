"""Does time grow no faster than the data, does memory stay, and what does a second worker give?

    python benchmarks/growth.py --dsn DSN --sizes 10000,100000,1000000

Each size is a tree of so many events and a tenth as many songs, reloaded as a whole process by one
worker and by two, in turn.
"""

from __future__ import annotations

from typing import Any

from _shared import median, numbers, parser, run_product, show

from sparkify_bulk.bench import comparison, ground


def main() -> None:
    """Read the command line, measure, print."""
    arguments = parser(__doc__, "bench/growth.json")
    arguments.add_argument("--dsn", help="the server; else the one that a run would take")
    arguments.add_argument("--sizes", type=numbers, default="10000,100000,1000000", help="events")
    arguments.add_argument("--days", type=int, default=30, help="log files; 1 makes one large file")
    arguments.add_argument("--jobs", type=numbers, default="1,2", help="workers")
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    with ground.open_place(given.dsn) as place:
        for events in given.sizes:
            sizes = comparison.Sizes(events, max(1, events // 10), given.seed, given.days)
            with comparison.generated(sizes) as data:
                # One before the others, untimed, reads every file.
                run_product(place, "reload", data, place.prefix)
                measured: dict[int, list[Any]] = {jobs: [] for jobs in given.jobs}
                for _ in range(given.rounds):
                    for jobs, taken in measured.items():
                        options = ("--jobs", str(jobs))
                        taken.append(run_product(place, "reload", data, place.prefix, *options))
                for jobs, taken in measured.items():
                    found = median(taken)
                    pace = {"events_per_second": round(events / found["seconds"])}
                    rows.append({"events": events, "jobs": jobs} | pace | found)
    show(rows, given.output, seed=given.seed, days=given.days)


if __name__ == "__main__":
    main()
