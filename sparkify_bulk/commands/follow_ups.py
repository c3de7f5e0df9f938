"""What a run leaves behind beside the star: metrics, a page, and word to somebody."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from sparkify_bulk.errors import SparkifyBulkError, UsageError, describe, exit_code_of

if TYPE_CHECKING:
    from sparkify_bulk.report import Report

logger = logging.getLogger("sparkify_bulk")

_BY_CTRL_C = 130

P = ParamSpec("P")


@dataclass(slots=True)
class FollowUps:
    """What follows a run, however it ends.

    Attributes:
        command: `reload` or `load`.
        dsn: the connection string, as it was given.
        schema: where the star lives.
        metrics: the file of metrics to write.
        page: the HTML page to write.
        notify_command: the shell command to run, if the exit code isn't 0.
        began: when the command began.
    """

    command: str
    dsn: str | None
    schema: str
    metrics: Path | None
    page: Path | None
    notify_command: str | None
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def check(self) -> None:
        """Refuse before the run what could not be written after it.

        Raises:
            UsageError: there is no such folder, or no right to write there.
        """
        for option, path in (("--metrics", self.metrics), ("--report", self.page)):
            if path and (path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK)):
                raise UsageError(
                    f"{option} {path} can't be written",
                    hint="name a file in a folder that exists and can be written to",
                )

    @contextlib.contextmanager
    def of_failure(self) -> Iterator[None]:
        """Let a run that fails be followed; what goes wrong then is only logged."""
        try:
            yield
        except BaseException as error:
            report, code = self._report_of(error), exit_code_of(error)
            self._write(report, code)
            # Who pressed Ctrl-C knows.
            if code != _BY_CTRL_C:
                self._notify(report, code)
            raise

    def of_success(self, report: "Report") -> int:
        """Follow a run that came to its end; return the exit code.

        What can't be written is logged, and told by the notify command. The data are in the star,
        so the code stays the run's.
        """
        code = report.exit_code
        written = self._write(report, code)
        if code or not written:
            self._notify(report, code)
        return code

    def _report_of(self, error: BaseException) -> "Report":
        from sparkify_bulk.report import Report

        if isinstance(error, SparkifyBulkError) and error.report:
            return error.report
        seconds = (datetime.now(UTC) - self.began).total_seconds()
        return Report(self.command, self.began, seconds=seconds, error=describe(error))

    def _write(self, report: "Report", exit_code: int) -> bool:
        """Write what was asked for; log what can't be written, and tell whether all was."""
        written = []
        if self.metrics:
            written.append(_tried(self._write_metrics, self.metrics, report, exit_code))
        if self.page and report.run_id:
            written.append(_tried(self._write_page, self.page, report.run_id))
        elif self.page:
            logger.warning("No page was written: the run failed before it was recorded")
        return all(written)

    def _write_metrics(self, path: Path, report: "Report", exit_code: int) -> None:
        from sparkify_bulk.reporting import metrics

        try:
            metrics.write(path, report, exit_code, self.schema, self._target())
        except OSError as error:
            raise SparkifyBulkError(
                f"the metrics can't be written to {path}: {error.strerror}",
                hint="sparkify-bulk runs tells how the run ended",
            ) from None

    def _target(self) -> str:
        """Name the database by what was given, so that it has one name whether it is up or not."""
        from sparkify_bulk.database.connection import libpq_is_configured, name_target

        if not self.dsn and not libpq_is_configured():
            return "embedded"
        try:
            return name_target(self.dsn or "")
        except SparkifyBulkError:
            return ""

    def _write_page(self, path: Path, run_id: int) -> None:
        from sparkify_bulk.database.server import open_connection
        from sparkify_bulk.reporting import page

        with open_connection(self.dsn) as connection:
            page.write(connection, self.schema, path, run_id)

    def _notify(self, report: "Report", exit_code: int) -> None:
        if self.notify_command:
            from sparkify_bulk.reporting import notify

            notify.notify(self.notify_command, report, exit_code)


def _tried(write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Write something; tell whether that went well, and log it where it didn't."""
    try:
        write(*args, **kwargs)
    except (SparkifyBulkError, OSError) as error:
        logger.error("After the run: %s", describe(error))  # noqa: TRY400 - a sentence says it
        return False
    return True
