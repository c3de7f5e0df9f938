"""Where a reject is made: a record refused, or a file that can't be read."""

from typing import NamedTuple

from sparkify_bulk.extract.records import Found
from sparkify_bulk.extract.segments import Segment
from sparkify_bulk.source.formats import UnreadableError
from sparkify_bulk.transform.rejection import Rejection


class Reject(NamedTuple):
    """A record refused: where it was, why, and its original bytes.

    `file` is an index into the batch's files; `line` counts from 1, `offset` in bytes from 0.
    """

    file: int
    line: int | None
    offset: int | None
    column: str | None
    reason: str
    detail: str
    raw: bytes


def reject_record(found: Found, segment: Segment, rejection: Rejection, line: int) -> Reject:
    """Say where a record was, and keep its bytes."""
    return Reject(
        segment.file,
        line,
        segment.offset + found.start,
        rejection.column,
        rejection.reason,
        rejection.detail,
        segment.data[found.start : found.stop],
    )


def reject_file(file: int, error: Exception, *, began: bool) -> Reject:
    """Say why a file can't be read; `began` if some of it was."""
    upto = " to its end" if began else ""
    detail = f"the file can't be read{upto}: {_why_unreadable(error)}"
    return Reject(file, None, None, None, "unreadable_file", detail, b"")


def _why_unreadable(error: Exception) -> str:
    """Say in plain words why a file can't be read."""
    if isinstance(error, UnreadableError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    return f"it caused an unexpected error ({type(error).__name__})"
