"""What the commands share that read the input: their options, settings, and the run itself."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.follow_ups import FollowUps
from sparkify_bulk.commands.options import (
    CREATE,
    DATA,
    JOBS,
    MAX_AGE,
    MAX_REJECTS,
    MAX_SHRINK,
    RETRIES,
    TARGET,
    WAIT,
)
from sparkify_bulk.source.manifest import begin_listing

if TYPE_CHECKING:
    from sparkify_bulk.settings import Settings


RUN = (*DATA, *TARGET, JOBS, MAX_REJECTS, MAX_SHRINK, MAX_AGE, CREATE, WAIT, RETRIES)


def run(
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
        settings = settings_of(**options)
        with (
            begin_listing(settings, read=command == "reload") as listers,
            streams.told(as_json=as_json, quiet=quiet, verbose=verbose) as watch,
        ):
            from sparkify_bulk import pipeline

            # What a run makes holds no cycles, or few: to look for them takes a thirtieth of it.
            gc.freeze()
            gc.set_threshold(50_000)
            story = pipeline.reload if command == "reload" else pipeline.load
            report = story(settings, watch, listers)
    streams.print_report(report, as_json=as_json, quiet=quiet, verbose=verbose)
    return follow_ups.of_success(report)


def settings_of(
    *,
    data: str | None,
    songs: str | None,
    logs: str | None,
    jobs: int | None,
    **options: Any,
) -> "Settings":
    """Return what a command is asked to do."""
    from sparkify_bulk.settings import Settings, check_memory, default_jobs
    from sparkify_bulk.source.input import input_folders

    check_memory()
    songs, logs = input_folders(data, songs, logs)
    return Settings(songs, logs, jobs=default_jobs() if jobs is None else jobs, **options)
