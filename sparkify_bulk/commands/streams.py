"""How commands speak: results on stdout, log lines and progress on stderr."""

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sparkify_bulk.commands.logs import JsonLines
from sparkify_bulk.errors import SparkifyBulkError
from sparkify_bulk.redaction import Redacted, printable_json, printable_lines

if TYPE_CHECKING:
    from sparkify_bulk.report import Report

logger = logging.getLogger("sparkify_bulk")

# What writing to a stream ends in: closed, full, over a limit, or its terminal is gone.
_UNWRITABLE = {
    errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPIPE,
}  # fmt: skip


def open_streams() -> None:
    """Open what is closed of stdin, stdout and stderr, before a connection gets its number.

    What is written to a closed stdout fails, as it should; to a closed stderr it is lost.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, mode)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    # A locale, or PYTHONIOENCODING, may name an encoding that lacks what is to be written.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def is_output_lost(error: OSError) -> bool:
    """Tell whether an error means that stdout can't be written; the rest of it is given up then.

    Errors of files and folders name them, and each command tells of those that it writes.
    """
    if error.filename is not None or error.errno not in _UNWRITABLE:
        return False
    _give_up(1)
    return True


def _give_up(number: int) -> None:
    """Let what is still to be written to a stream be lost: it would fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


@contextlib.contextmanager
def whoever_listens() -> Iterator[None]:
    """Let stderr be closed, or on a full disk, without a change of the exit code."""
    try:
        yield
        sys.stderr.flush()
    except OSError:
        _give_up(2)


@contextlib.contextmanager
def told(*, as_json: bool, quiet: bool, verbose: bool) -> Iterator[Any]:
    """Let a run be watched and logged; print the report of one that fails, where JSON is wanted."""
    try:
        with _watch(quiet=quiet, verbose=verbose) as watch:
            yield watch
    except SparkifyBulkError as error:
        if as_json and error.report is not None:
            with _whatever_reads():
                write_json(error.report.to_json())
        raise


@contextlib.contextmanager
def _watch(*, quiet: bool, verbose: bool) -> Iterator[Any]:
    """Watch a run by bars on a terminal, by log lines elsewhere."""
    from rich.logging import RichHandler

    from sparkify_bulk.commands import progress, tables

    level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
    logging.getLogger("sparkify_bulk").setLevel(level)
    console = tables.console(stderr=True)
    if console.is_terminal and not quiet and not _logs_are_json():
        # By the console that draws the bars: lines written past it would fall into them.
        handler = RichHandler(console=console, show_time=False, show_path=False, highlighter=None)
        handler.setFormatter(Redacted("%(message)s"))
        logging.basicConfig(handlers=[handler])
        with progress.TerminalWatch(console) as bars:
            yield bars
    else:
        plain = logging.StreamHandler(sys.stderr)
        plain.setFormatter(Redacted("%(asctime)s %(levelname)s %(message)s"))
        # Does nothing where log lines are JSON already.
        logging.basicConfig(handlers=[plain])
        yield progress.LogWatch()


def log_as_json() -> None:
    """From now on, let all that is written to stderr be JSON, one object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler])


def say_error(message: str, hint: str = "", **fields: Any) -> None:
    """Say on stderr what ended the command: plainly, or as a log line where these are JSON."""
    if _logs_are_json():
        hinted = {"hint": hint} if hint else {}
        logger.error(message, extra={"fields": hinted | fields})
        return
    with whoever_listens():
        click.echo(printable_lines(message), err=True)
        if hint:
            click.echo(f"Hint: {printable_lines(hint)}", err=True)


def _logs_are_json() -> bool:
    return any(isinstance(h.formatter, JsonLines) for h in logging.getLogger().handlers)


def print_report(report: "Report", *, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print what a run did, and what to do next.

    The run is done: where that can't be printed, it is only logged.
    """
    from sparkify_bulk.commands import tables

    with _whatever_reads(f"run {report.run_id} is done, and its data are in the star"):
        if as_json:
            write_json(report.to_json())
        elif not quiet:
            summary = tables.summary(report, verbose=verbose, options=_same_star())
            tables.console().print(summary)
            sys.stdout.flush()


@contextlib.contextmanager
def _whatever_reads(truth: str = "see sparkify-bulk runs") -> Iterator[None]:
    """Let stdout be closed, or on a full disk, without that being what ends the command.

    Args:
        truth: how the run ended.
    """
    try:
        yield
    except OSError as error:
        _give_up(1)
        # Somebody who reads only the first lines, as `head` does, has closed it on purpose.
        if error.errno != errno.EPIPE:
            reason = f"the report can't be written: {error.strerror}"
            logger.error("%s; %s", reason, truth)  # noqa: TRY400 - a sentence says it


def _same_star() -> str:
    """Return what to add to another command so that it finds the star of this one."""
    from click.core import ParameterSource

    context = click.get_current_context()
    added = ""
    # The string isn't repeated: it may hold a password.
    for name, value in (("dsn", "…"), ("schema", context.params["schema"])):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            added += f" --{name} {value}"
    return added


def write(document: bytes) -> None:
    """Write bytes to stdout, at once."""
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()


def write_json(document: bytes) -> None:
    """Write JSON to stdout, at once; on a terminal without what that would obey."""
    write(printable_json(document.decode()).encode() if sys.stdout.isatty() else document)


def write_line(row: dict[str, Any]) -> None:
    """Write one JSON document on a line of its own to stdout."""
    import orjson

    write_json(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
