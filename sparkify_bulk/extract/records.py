"""Find and decode JSON records in bytes, however they are laid out: what the salvage path reads.

One a line, pretty-printed over many, several on a line, in one array: a record is a JSON object at
the top level; brackets, commas and white space between records carry nothing.

All of it takes time in proportion to the bytes, whatever they are: records are decoded from short
slices, as an error of the decoder counts the lines of all text before it, and each malformed
stretch is gone through once.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from sparkify_bulk.extract.decoder import Decoder, MalformedError, check_interrupt
from sparkify_bulk.extract.stretch import MEMBER, PLAIN, Stretch, skip
from sparkify_bulk.transform.rejection import Rejection

# Longest run of bytes taken for one record that hasn't ended; beyond it the bytes are refused.
MAX_RECORD_BYTES = 64 * 2**20
_NOT_AN_OBJECT = Rejection("not_an_object", "the text is not a JSON object")
_RECORDS_A_TIME = 1000
# JSON text sequences put a record separator before each record.
_BETWEEN = re.compile("[ \t\r\n\x1e,\\[\\]\ufeff]*+")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class Found(NamedTuple):
    """A stretch of bytes that is one record, decoded, or one malformed stretch, with why.

    `unfinished` tells that the bytes end within it: with more of them it might be a record.
    """

    start: int
    stop: int
    value: dict[str, Any] | Rejection
    unfinished: bool = False


def decode_records(data: bytes) -> Iterator[Found]:
    """Yield every record in the bytes, and every malformed stretch between records.

    How far a malformed stretch reaches is told in `docs/rules.md`, and by `Stretch`.
    """
    text, all_valid = _decode_text(data)
    place = _Place(text, ascii_only=len(text) == len(data))
    decoder = Decoder(text)
    position = number = 0
    while (position := skip(_BETWEEN, text, position)) < len(text):
        number += 1
        if number % _RECORDS_A_TIME == 0:
            check_interrupt()
        end, value, unfinished = _decode_one(decoder, text, position)
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


def _decode_one(
    decoder: "Decoder", text: str, start: int
) -> tuple[int, dict[str, Any] | Rejection, bool]:
    """Decode the record that begins here, or find where the malformed stretch here ends.

    Also tell whether the text ends within it.
    """
    unfinished, junk = False, _NOT_AN_OBJECT
    if text[start] == "{":
        try:
            value, stop = decoder.decode(start)
        except MalformedError as error:
            junk = Rejection("malformed_json", f"the record is not valid JSON: {error.why}")
            unfinished = error.unfinished
        else:
            return stop, value, False
    else:
        # Most junk is a line that holds no record.
        end = skip(PLAIN, text, start)
        if (end == len(text) or text[end] != "{") and not MEMBER.match(text, start):
            return start + len(text[start:end].rstrip(" \t\r\n\x1e,[]")), junk, end == len(text)
    stop, ran_out = Stretch(text, start).find_end()
    return stop, junk, unfinished or ran_out


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
