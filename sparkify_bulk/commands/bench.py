"""The benchmark."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.options import DSN, FOLDER, PREFIX, TALK, TREE, Command, option, options
from sparkify_bulk.errors import UsageError

# Prefixed by the command: elsewhere --songs is a folder, and the data to load are the live ones.
_BENCH = f"{PREFIX}BENCH_"
_AT_LEAST_ONE = click.IntRange(min=1)


def _bench_option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
    return option(*names, prefix=_BENCH, **({"show_default": True} | attributes))


def _complete_contender(_context: object, _parameter: object, begun: str) -> list[str]:
    from sparkify_bulk.bench import contenders

    return [name for name in contenders.contenders() if name.startswith(begun)]


@click.command(short_help="Compare its speed with other ways to load.")
@options(
    click.argument("data", required=False, type=TREE, metavar="[DATA]", envvar=f"{_BENCH}DATA"),
    DSN,
    _bench_option(
        "--events", metavar="N", type=_AT_LEAST_ONE, default=100_000, help="Events to generate."
    ),
    _bench_option(
        "--songs", metavar="N", type=_AT_LEAST_ONE, default=10_000, help="Songs to generate."
    ),
    _bench_option("--seed", metavar="N", type=int, default=1, help="The same seed, the same data."),
    _bench_option(
        "--rounds", metavar="N", type=_AT_LEAST_ONE, default=3, help="How often each one runs."
    ),
    _bench_option(
        "--contender",
        "names",
        metavar="NAME",
        multiple=True,
        shell_complete=_complete_contender,
        show_default=False,
        help="Only this one; may be repeated.  [default: all but row-by-row-autocommit]",
    ),
    _bench_option(
        "--output", metavar="DIR", type=FOLDER, default=Path("bench"), help="Where results go."
    ),
    *TALK,
)
def bench(
    *,
    data: str | None,
    dsn: str | None,
    events: int,
    songs: int,
    seed: int,
    rounds: int,
    names: tuple[str, ...],
    output: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Measure this loader and other ways to fill the same star, on your own server.

    Each runs as a whole process, in turn, in a schema of its own that is dropped in the end; no
    star is touched. Without DATA, data is generated; a bucket is copied to this machine first. A
    time only counts if the star is the same. Writes bench.json, bench.png and bench.svg.

    Example: sparkify-bulk bench --events 1000000 --songs 100000 --contender floor
    """
    from sparkify_bulk.bench import comparison
    from sparkify_bulk.commands import tables

    _make_folder(output)
    with streams.told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        sizes = comparison.Sizes(events, songs, seed)
        document = comparison.bench(dsn, data, sizes=sizes, rounds=rounds, names=names, watch=watch)
    written = comparison.write(document, output)
    if as_json:
        streams.write_line(document)
    else:
        tables.console().print(tables.comparison(document))
        click.echo(f"Written: {', '.join(map(str, written))}")
    return 1 if any("error" in contender for contender in document["contenders"]) else 0


def _make_folder(output: Path) -> None:
    """Make the folder before anything is measured, not after."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not os.access(output, os.W_OK):
            raise PermissionError(0, "no right to write there")
    except OSError as error:
        raise UsageError(
            f"{output} can't be made or written to: {error.strerror}", hint="name it by --output"
        ) from error
