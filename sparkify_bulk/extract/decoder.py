"""Decode JSON objects that text begins with, every number as it is written."""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, NamedTuple, NoReturn

from sparkify_bulk.transform.rejection import Rejection

# Deepest nesting of a record: as deep as Polars reads, so that both paths take the same records.
MAX_DEPTH = 1024
# What decoding asks from time to time, as it may take long: it raises to end it.
_INTERRUPT: ContextVar[Callable[[], None]] = ContextVar("interrupt")
TOKENS_A_TIME = 50_000
# The interpreter's limit is one for all threads: one at a time raises and restores it.
_STACK = threading.Lock()
# Longest thing but a string that can be cut in two: an escaped pair of surrogates.
_LONGEST_TOKEN = len("\\ud83d\\ude00")
# What the decoder is given at first: more than nearly all records have.
_SLICE = 4096
_LONGEST_KEY = 100
STRING = r'"(?:[^"\\\r\n]++|\\[^\r\n])*+"'
# A string that the end of the text cuts.
TAIL = re.compile(r'"(?:[^"\\\r\n]++|\\[^\r\n])*+\\?\Z')


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Let what is decoded in this thread be ended by what this raises."""
    token = _INTERRUPT.set(interrupt)
    try:
        yield
    finally:
        _INTERRUPT.reset(token)


def check_interrupt() -> None:
    """Raise what ends the decoding in this thread, where something does."""
    if interrupt := _INTERRUPT.get(None):
        interrupt()


class MalformedError(Exception):
    """No whole record begins here; `unfinished` if one might with more text."""

    def __init__(self, why: str, *, unfinished: bool = False) -> None:
        """Say why."""
        super().__init__(why)
        self.why = why
        self.unfinished = unfinished


class _NoNumber(NamedTuple):
    """Stands in a decoded record for what is written where a number belongs, but is none."""

    words: str


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Let the first of equal keys count, as Polars does."""
    return dict(reversed(pairs))


def _decimal(text: str) -> Decimal | float:
    """Read a number as it is written, so that no digit is lost; a float where that can't be."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of some twenty digits
        return float(text)


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which JSON doesn't know."""
    raise ValueError(name)


def _mark_constant(name: str) -> _NoNumber:
    return _NoNumber(f"is {name}, which is not valid JSON")


def _mark_long_number(digits: str) -> int | _NoNumber:
    try:
        return int(digits)
    except ValueError:
        return _NoNumber("is a number of too many digits")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_first_wins, parse_float=_decimal, parse_constant=_refuse_constant
)
# Slower; tells which key is to blame.
_MARKING_DECODER = json.JSONDecoder(
    object_pairs_hook=_first_wins,
    parse_float=_decimal,
    parse_constant=_mark_constant,
    parse_int=_mark_long_number,
)
# Up to the next bracket that isn't text; a quotation mark instead if a string doesn't end.
_TO_BRACKET = re.compile(r'(?:[^"{}\[\]]++|"(?:[^"\\\r\n]++|\\[^\r\n])*+")*+([{}\[\]"]|\Z)')
_PARTNER = {"}": "{", "]": "["}


class Decoder:
    """Decodes the objects of a text, asked for in rising order.

    `_unclosed` are the places before `_known` where an object begins that doesn't end, so that they
    are found out once, however many there are.
    """

    def __init__(self, text: str) -> None:
        """Begin before the text."""
        self._text = text
        self._known = 0
        self._unclosed: frozenset[int] = frozenset()

    def decode(self, start: int) -> tuple[dict[str, Any] | Rejection, int]:
        """Decode the object that begins here; return where it ends, too.

        Raises:
            MalformedError: there is no whole object.
        """
        piece = self._text[start : start + _SLICE]
        try:
            value, length = decode_piece(piece)
        except (ValueError, RecursionError) as error:
            if not _ran_out(error, piece):
                raise MalformedError(_why(error)) from None
            stop = self._find_close(start)
            if stop is None:
                ran_out = start + _SLICE >= len(self._text) or self._known == len(self._text)
                raise MalformedError(_why(error), unfinished=ran_out) from None
            try:
                value, length = decode_piece(self._text[start:stop])
            except (ValueError, RecursionError) as second:
                raise MalformedError(_why(second)) from None
        return value, start + length

    def _find_close(self, start: int) -> int | None:
        """Return where the object that begins here ends, by its brackets; None if it doesn't.

        Raises:
            MalformedError: it nests too deep.
        """
        if start < self._known and start in self._unclosed:
            return None
        opened: list[tuple[int, str]] = []
        position, number = start, 0
        while match := _TO_BRACKET.match(self._text, position):
            position, bracket, number = match.end(), match[1], number + 1
            if number % TOKENS_A_TIME == 0:
                check_interrupt()
            if bracket in _PARTNER:
                if not opened or opened.pop()[1] != _PARTNER[bracket]:
                    break
                if not opened:
                    return position
            elif bracket and bracket != '"':
                opened.append((match.start(1), bracket))
                if len(opened) > MAX_DEPTH:
                    raise MalformedError(_why(RecursionError()))
            else:
                # A string that the text's end cuts is no error yet.
                position = len(self._text) if TAIL.match(self._text, match.start(1)) else position
                break
        self._known = position
        self._unclosed = frozenset(at for at, bracket in opened if bracket == "{") | {start}
        return None


def decode_piece(piece: str) -> tuple[dict[str, Any] | Rejection, int]:
    """Decode the object that a text begins with.

    How deep the decoder goes depends on the stack that is left: where it gives up, it gets more.
    """
    try:
        value, stop = _decode_by(_DECODER, piece)
    except json.JSONDecodeError:
        raise
    except ValueError:
        value, stop = _decode_by(_MARKING_DECODER, piece)
        return _blame_number(value), stop
    return value, stop


def _decode_by(decoder: json.JSONDecoder, piece: str) -> tuple[dict[str, Any], int]:
    value: dict[str, Any]
    try:
        value, stop = decoder.raw_decode(piece)
    except RecursionError:
        with _STACK:
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(limit + 2 * MAX_DEPTH)
            try:
                value, stop = decoder.raw_decode(piece)
            finally:
                sys.setrecursionlimit(limit)
    # Few records hold so many brackets, let alone nest them.
    if piece.count("{", 0, stop) + piece.count("[", 0, stop) > MAX_DEPTH:
        _check_depth(value)
    return value, stop


def _check_depth(value: dict[str, Any]) -> None:
    """Raise RecursionError where objects and arrays nest too deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        parts = (node.values() if isinstance(node, dict) else node for node in level)
        level = [part for part in chain.from_iterable(parts) if type(part) in (dict, list)]
    if level:
        raise RecursionError


def _blame_number(value: dict[str, Any]) -> Rejection:
    """Name the first key whose value is, or holds, what is written like a number but is none."""
    for key, part in value.items():
        inner = [part]
        while inner:
            node = inner.pop()
            if isinstance(node, _NoNumber):
                detail = f"the value of {_shown(key)} {node.words}"
                return Rejection("malformed_json", detail, _shown(key))
            if isinstance(node, dict | list):
                inner += node.values() if isinstance(node, dict) else node
    # It stands where a key stands a second time.
    return Rejection("malformed_json", "a number that is not valid JSON, or is too long")


def _shown(key: str) -> str:
    """Return a key as text that a database stores."""
    return ascii(key)[1:-1][:_LONGEST_KEY]


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
    return f"nested deeper than {MAX_DEPTH} levels"
