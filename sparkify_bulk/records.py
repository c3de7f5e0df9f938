"""Find and decode JSON records in bytes, however they are laid out: the salvage path's eyes.

One a line, pretty-printed over many, several on a line, in one array: a record is a JSON object at
the top level; brackets, commas and white space between records carry nothing.
"""

import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, NoReturn

# Longest run of bytes taken for one record that hasn't ended; beyond it the bytes are refused.
MAX_RECORD_BYTES = 64 * 2**20
# Deepest nesting of a record: as deep as Polars reads, so that both paths take the same records.
MAX_DEPTH = 1024
# Why a record, or a whole file, is refused: the codes that docs/rules.md explains.
REASONS = (
    "malformed_json",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "unstorable_text",
    "unreadable_file",
)


class Rejection(Exception):  # noqa: N818 - the word for what befalls a record, not an error of a run
    """A record is refused; caught where its place in the file is known.

    Args:
        reason: reason code, one of those in `docs/rules.md`.
        detail: one sentence for a person; never quotes a value.
        column: the JSON key at fault, if one is.
    """

    def __init__(self, reason: str, detail: str, column: str | None = None) -> None:
        """Say why."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.column = column


@dataclass(frozen=True, slots=True)
class Reject:
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


@dataclass(frozen=True, slots=True)
class Found:
    """A stretch of bytes that is one record, decoded, or one piece of junk, with why.

    `unfinished` tells that the bytes end within it: with more of them it might be a record.
    """

    start: int
    stop: int
    value: dict[str, Any] | Rejection
    unfinished: bool = False


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Let the first of equal keys count, as Polars does."""
    return dict(reversed(pairs))


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON doesn't know."""
    raise ValueError(name)


def _decimal(text: str) -> Decimal | float:
    """Read a number as it is written, so that no digit is lost; a float where that can't be."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of some twenty digits
        return float(text)


# The interpreter's limit is one for all threads: one at a time raises and restores it.
_STACK = threading.Lock()
# Longest thing but a string that can be cut in two: an escaped pair of surrogates.
_LONGEST_TOKEN = len("\\ud83d\\ude00")
_DECODER = json.JSONDecoder(
    object_pairs_hook=_first_wins, parse_float=_decimal, parse_constant=_refuse_constant
)
_BETWEEN = re.compile("[ \t\r\n,\\[\\]\ufeff]*")
_END_OF_LINE = re.compile(r"\r?\n|$")
_NEXT_RECORD = re.compile(r"\n[ \t\r\n]*(?=\{)")
_BLANK = " \t\r\n"
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


def decode_records(data: bytes) -> Iterator[Found]:
    """Yield every record in the bytes, and every piece of junk between records.

    A record that can't be decoded reaches to the next line that begins with `{`; other junk to the
    end of its line.
    """
    text, all_valid = _decode_text(data)
    place = _Place(text, ascii_only=len(text) == len(data))
    position = 0
    while (position := _skip(_BETWEEN, text, position)) < len(text):
        end, value, unfinished = _decode_one(text, position)
        if not all_valid and _ESCAPED_BYTE.search(text, position, end):
            value = Rejection("malformed_json", "the record holds bytes that are not UTF-8")
        yield Found(place.at(position), place.at(end), value, unfinished)
        position = end


def end_of_whole_records(data: bytes) -> int:
    """Return how many of the bytes make up whole records, where more bytes will follow."""
    end = 0
    for found in decode_records(data):
        if found.unfinished:
            break
        end = found.stop
    return end


def _decode_text(data: bytes) -> tuple[str, bool]:
    """Decode UTF-8, and say whether all of it was; bytes that aren't stand as lone surrogates."""
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return data.decode(errors="surrogateescape"), False


def _decode_one(text: str, start: int) -> tuple[int, dict[str, Any] | Rejection, bool]:
    """Decode the record that begins here, or find where the junk that begins here ends.

    Also tell whether the text ends within it.
    """
    if text[start] != "{":
        end = _END_OF_LINE.search(text, start)
        stop = end.start() if end else len(text)
        junk = Rejection("not_an_object", "the text is not a JSON object")
        return stop, junk, stop == len(text)
    try:
        value, stop = _decode_object(text, start)
    except (ValueError, RecursionError) as error:
        following = _NEXT_RECORD.search(text, start)
        # Without the blanks at its end: where the bytes were cut, these may lie beyond.
        stop = start + len(text[start : following and following.start()].rstrip(_BLANK))
        junk = Rejection("malformed_json", f"the record is not valid JSON: {_why(error)}")
        return stop, junk, following is None or _ran_out(error, text)
    return stop, value, False


def _decode_object(text: str, start: int) -> tuple[dict[str, Any], int]:
    """Decode the object that begins here; return where it ends, too.

    How deep the decoder goes depends on the stack that is left: where it gives up, it gets more.
    """
    try:
        value, stop = _DECODER.raw_decode(text, start)
    except RecursionError:
        with _STACK:
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(limit + 2 * MAX_DEPTH)
            try:
                value, stop = _DECODER.raw_decode(text, start)
            finally:
                sys.setrecursionlimit(limit)
    # Few records hold so many brackets, let alone nest them.
    if text.count("{", start, stop) + text.count("[", start, stop) > MAX_DEPTH:
        _check_depth(value)
    return value, stop


def _check_depth(value: dict[str, Any]) -> None:
    """Raise RecursionError where objects and arrays nest too deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        parts = (node.values() if isinstance(node, dict) else node for node in level)
        level = [part for part in chain.from_iterable(parts) if isinstance(part, dict | list)]
    if level:
        raise RecursionError


def _ran_out(error: ValueError | RecursionError, text: str) -> bool:
    """Tell whether the decoder failed because the text ends, perhaps in the middle of a token."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    # A string that a newline ends has "invalid control character" instead.
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _LONGEST_TOKEN


def _why(error: ValueError | RecursionError) -> str:
    """Say in the decoder's words what is wrong, without quoting the text."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg[0].lower() + error.msg[1:].removesuffix(" at")
    if isinstance(error, RecursionError):
        return f"nested deeper than {MAX_DEPTH} levels"
    return "a number that JSON does not know, or that is too long"


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


class _Place:
    """Turn positions in a text, asked for in rising order, into positions in its UTF-8 bytes."""

    def __init__(self, text: str, *, ascii_only: bool) -> None:
        self._text = text
        self._ascii_only = ascii_only
        self._position = 0
        self._byte = 0

    def at(self, position: int) -> int:
        if self._ascii_only:
            return position
        passed = self._text[self._position : position]
        self._byte += len(passed.encode(errors="surrogateescape"))
        self._position = position
        return self._byte
