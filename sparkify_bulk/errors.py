"""The errors a run can end with, each with the exit code a script sees.

SparkifyBulkError            1  the run failed
├── UsageError               2  the command line or the input folder is wrong
├── DatabaseError            4  the database can't be reached or refused
│   └── EmbeddedServerError  4  the embedded PostgreSQL can't be started
├── StarBusyError            5  another run holds the star
├── RejectLimitError         6  more rejects than allowed, star untouched
├── ShrinkError              8  the new star is much smaller than the old one, star untouched
├── QueryError               1  the server refused a query of the user's
└── CountMismatchError               1  the counts of a run don't balance, star untouched
"""

from typing import TYPE_CHECKING

from sparkify_bulk.redaction import printable, printable_lines, redact

if TYPE_CHECKING:
    from sparkify_bulk.report import Report


class SparkifyBulkError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: what went wrong, and where.
        hint: what to do about it; may be empty.

    `report` is what a run had done when it failed, where there was a run.
    """

    exit_code = 1
    # A message is one line, whatever the names in it hold.
    keeps_lines = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Say what went wrong, and what to do."""
        self.message = (printable_lines if self.keeps_lines else printable)(redact(message))
        super().__init__(self.message)
        self.hint = printable_lines(redact(hint))
        self.report: Report | None = None


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; what was under way ends as it does on Ctrl-C."""


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that an error ends."""
    if isinstance(error, SparkifyBulkError):
        return error.exit_code
    if isinstance(error, Terminated):
        return 143
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def describe(error: BaseException) -> str:
    """Say in a line what ended a command, as it is put on record."""
    if isinstance(error, SparkifyBulkError):
        return error.message
    if isinstance(error, Terminated):
        return "interrupted: the process was asked to end (SIGTERM)"
    return "interrupted by Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__


class UsageError(SparkifyBulkError):
    """The command line or the input folder is wrong; nothing was touched."""

    exit_code = 2


class DatabaseError(SparkifyBulkError):
    """The database can't be reached, refused, or isn't fit for a star.

    Args:
        message: what went wrong, and where.
        hint: what to do about it; may be empty.
        transient: it will probably have passed in a while, as a restart of the server does.
        unreachable: no connection could be made; that may pass, if there was one just before.
    """

    exit_code = 4

    def __init__(
        self, message: str, *, hint: str = "", transient: bool = False, unreachable: bool = False
    ) -> None:
        """Say what went wrong, what to do, and whether to try again."""
        super().__init__(message, hint=hint)
        self.transient = transient
        self.unreachable = unreachable


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL can't be installed, started or stopped; its own words may follow."""

    keeps_lines = True


class StarBusyError(SparkifyBulkError):
    """Another run holds the star."""

    exit_code = 5


class RejectLimitError(SparkifyBulkError):
    """More records were rejected than `max_rejects` allows; the star is untouched."""

    exit_code = 6


class ShrinkError(SparkifyBulkError):
    """The new star is much smaller than the old one, which is untouched."""

    exit_code = 8


class CountMismatchError(SparkifyBulkError):
    """Rows sent, staged and merged don't add up; the star is untouched."""


class QueryError(SparkifyBulkError):
    """The server refused a query of the user's; the line it is about stands below."""

    keeps_lines = True
