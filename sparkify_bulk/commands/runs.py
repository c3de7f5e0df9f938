"""The commands that read the input: reload, load, verify and plan."""

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparkify_bulk.commands import talk
from sparkify_bulk.commands.follow_ups import FollowUps
from sparkify_bulk.commands.options import (
    CREATE,
    DATA,
    DROP_DEPENDENTS,
    FOLLOW_UPS,
    JOBS,
    JSON,
    MAX_AGE,
    MAX_REJECTS,
    MAX_SHRINK,
    REHASH,
    RETRIES,
    SWITCH_PATIENCE,
    TALK,
    TARGET,
    WAIT,
    options,
)
from sparkify_bulk.redaction import printable
from sparkify_bulk.source.manifest import begin_listing

if TYPE_CHECKING:
    from sparkify_bulk.loading.estimate import Estimate
    from sparkify_bulk.settings import Settings


_MOST_VANISHED = 20
_RUN = (*DATA, *TARGET, JOBS, MAX_REJECTS, MAX_SHRINK, MAX_AGE, CREATE, WAIT, RETRIES)


@click.command(short_help="Rebuild the star from all files.")
@options(*_RUN, DROP_DEPENDENTS, SWITCH_PATIENCE, *FOLLOW_UPS, *TALK)
def reload(**options: Any) -> int:
    """Rebuild the star from all files; it replaces the old one in one step.

    DATA is a folder with song_data/ and log_data/ below it.

    Example: sparkify-bulk reload data
    """
    return _run("reload", **options)


@click.command(short_help="Merge new and changed files into the star.")
@options(*_RUN, REHASH, *FOLLOW_UPS, *TALK)
def load(**options: Any) -> int:
    """Merge new and changed files into the live star.

    DATA is a folder with song_data/ and log_data/ below it. Files whose size and time of change are
    as the ledger has them aren't read; records that are there already change nothing.

    Example: sparkify-bulk load data --dsn service=warehouse
    """
    return _run("load", **options)


def _run(
    command: str,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    metrics: Path | None,
    page: Path | None,
    notify_command: str | None,
    **options: Any,
) -> int:
    """Run a reload or a load, print its report, and do what follows; return the exit code."""
    follow_ups = FollowUps(
        command, options["dsn"], options["schema"], metrics, page, notify_command
    )
    with follow_ups.of_failure():
        follow_ups.check()
        settings = _settings(**options)
        with (
            begin_listing(settings, read=command == "reload") as listers,
            talk.told(as_json=as_json, quiet=quiet, verbose=verbose) as watch,
        ):
            from sparkify_bulk import pipeline

            # What a run makes holds no cycles, or few: to look for them takes a thirtieth of it.
            gc.freeze()
            gc.set_threshold(50_000)
            story = pipeline.reload if command == "reload" else pipeline.load
            report = story(settings, watch, listers)
    talk.print_report(report, as_json=as_json, quiet=quiet, verbose=verbose)
    return follow_ups.of_success(report)


@click.command(short_help="Compare the star with all files.")
@options(*DATA, *TARGET, JOBS, WAIT, *TALK)
def verify(*, as_json: bool, quiet: bool, verbose: bool, **options: Any) -> int:
    """Read all files again, record by record, and compare them with the star.

    Exit 0 if it does, 1 if not. The star is only read.

    Example: sparkify-bulk verify data
    """
    from sparkify_bulk import pipeline
    from sparkify_bulk.commands import render

    settings = _settings(**options)
    with talk.told(as_json=as_json, quiet=quiet, verbose=verbose) as watch:
        report, differences = pipeline.verify(settings, watch)
    if as_json:
        found = [dataclasses.asdict(difference) for difference in differences]
        talk.write_line(report.to_dict() | {"differences": found})
    elif differences:
        columns = ("table", "difference", "rows", "for example")
        rows = [(d.table, d.difference, d.rows, "; ".join(d.keys)) for d in differences]
        render.console().print(render.listing(columns, rows))
    elif not quiet:
        click.echo(f"Star and files agree: {report.tables['songplays'].rows:,} songplays compared.")
    return report.exit_code


@click.command(short_help="Say what a load would read.")
@options(*DATA, *TARGET, REHASH, JSON)
def plan(*, as_json: bool, **options: Any) -> None:
    """Show what a load would read: new, changed, unchanged and vanished files. Writes nothing.

    Vanished files are listed by name: they are on record, but gone.

    Example: sparkify-bulk plan data
    """
    from sparkify_bulk import pipeline
    from sparkify_bulk.commands import render
    from sparkify_bulk.source.manifest import describe_left_out

    columns = ("files", "new", "changed", "same", "vanished", "bytes")
    manifests, estimate = pipeline.plan(_settings(jobs=None, **options))
    rows = {
        kind: (m.files, m.new, m.changed, m.same, len(m.vanished), m.size)
        for kind, m in manifests.items()
    }
    if as_json:
        kinds = {
            kind: dict(zip(columns, row, strict=True))
            | {
                "left_out": manifests[kind].left_out.counts,
                "vanished_files": manifests[kind].vanished,
            }
            for kind, row in rows.items()
        }
        talk.write_line(kinds | {"estimated_seconds": estimate and round(estimate.seconds, 1)})
    else:
        listed = [(kind, *row) for kind, row in rows.items()]
        out = render.console()
        out.print(render.listing(("to read", *columns), listed))
        left_out = describe_left_out((m.root, m.left_out) for m in manifests.values())
        gone = [name for manifest in manifests.values() for name in manifest.vanished]
        said = [f"Left out: {left_out}"] if left_out else []
        for line in (*said, *_describe_vanished(gone), _describe_estimate(estimate)):
            out.print(printable(line), markup=False)


def _describe_vanished(files: list[str]) -> Iterator[str]:
    """Yield lines that name the files that are on record, but gone."""
    if files:
        yield "Gone since they were loaded; their rows are kept until the next reload:"
        yield from (f"  {name}" for name in files[:_MOST_VANISHED])
    if len(files) > _MOST_VANISHED:
        yield f"  and {len(files) - _MOST_VANISHED:,} more; --json lists all"


def _describe_estimate(estimate: "Estimate | None") -> str:
    if estimate is None:
        return (
            "No estimate of the time: there is too little history. It takes three runs or more, "
            "of different sizes."
        )
    return (
        f"This takes about {estimate.seconds:.1f} s, going by the last {estimate.runs} runs: "
        f"{estimate.fixed:.1f} s for any run, the rest for what it reads."
    )


def _settings(
    *,
    data: str | None,
    songs: str | None,
    logs: str | None,
    jobs: int | None,
    **options: Any,
) -> "Settings":
    from sparkify_bulk.settings import Settings, check_memory, default_jobs
    from sparkify_bulk.source.input import input_folders

    check_memory()
    songs, logs = input_folders(data, songs, logs)
    return Settings(songs, logs, jobs=default_jobs() if jobs is None else jobs, **options)
