"""Tell somebody how a run ended, by a command of theirs."""

import logging
import os
import subprocess

from sparkify_bulk.redaction import printable, redact
from sparkify_bulk.report import Report

logger = logging.getLogger("sparkify_bulk")

# Longer than a mail program or curl takes; a job that hangs at its end would hold the next night's.
_PATIENCE_SECONDS = 60


def notify(command: str, report: Report, exit_code: int) -> None:
    """Hand a run's report to a shell command: JSON on its standard input, a summary around it.

    The environment holds `SPARKIFY_BULK_EXIT_CODE`, `SPARKIFY_BULK_STATUS`, `SPARKIFY_BULK_RUN_ID`
    (empty if the run never was on record) and `SPARKIFY_BULK_MESSAGE`, one line for a subject. That
    the command fails is logged, and changes nothing else.
    """
    environment = {
        **os.environ,
        "SPARKIFY_BULK_EXIT_CODE": str(exit_code),
        "SPARKIFY_BULK_STATUS": report.status,
        "SPARKIFY_BULK_RUN_ID": str(report.run_id or ""),
        "SPARKIFY_BULK_MESSAGE": message(report, exit_code),
    }
    try:
        done = subprocess.run(  # noqa: S602 - a shell is what the user asked for
            command,
            shell=True,
            check=False,
            input=report.to_json(),
            # Standard output is the report's own.
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.error("The notify command failed: %s", redact(str(error)))  # noqa: TRY400
        return
    said = redact(done.stdout.decode(errors="replace").strip())
    if done.returncode:
        logger.error("The notify command ended with %d: %s", done.returncode, said)
    elif said:
        logger.info("The notify command said: %s", said)


def message(report: Report, exit_code: int) -> str:
    """Say in one line how a run ended."""
    run = f"run {report.run_id}" if report.run_id else "a run"
    if report.error:
        what = f"failed: {report.error}"
    elif report.stale:
        what = f"done, but the newest event is of {report.newest_event or 'never'}"
    else:
        what = f"done, {report.rejects.count} records rejected"
    return printable(redact(f"sparkify-bulk {report.command}, {run}: {what} (exit {exit_code})"))
