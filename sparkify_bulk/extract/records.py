"""Find and decode JSON records in bytes, however they are laid out: what the salvage path reads.

One a line, pretty-printed over many, several on a line, in one array: a record is a JSON object at
the top level; brackets, commas and white space between records carry nothing.

All of it takes time in proportion to the bytes, whatever they are: records are decoded from short
slices, as an error of the decoder counts the lines of all text before it, and each malformed
stretch is gone through once.
"""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import chain, islice
from typing import Any, NamedTuple, NoReturn

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


_NOT_AN_OBJECT = Rejection("not_an_object", "the text is not a JSON object")


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


class Found(NamedTuple):
    """A stretch of bytes that is one record, decoded, or one malformed stretch, with why.

    `unfinished` tells that the bytes end within it: with more of them it might be a record.
    """

    start: int
    stop: int
    value: dict[str, Any] | Rejection
    unfinished: bool = False


# What decoding asks from time to time, as it may take long: it raises to end it.
_INTERRUPT: ContextVar[Callable[[], None]] = ContextVar("interrupt")
_RECORDS_A_TIME = 1000
_TOKENS_A_TIME = 50_000

# The interpreter's limit is one for all threads: one at a time raises and restores it.
_STACK = threading.Lock()
# Longest thing but a string that can be cut in two: an escaped pair of surrogates.
_LONGEST_TOKEN = len("\\ud83d\\ude00")
# What the decoder is given at first: more than nearly all records have.
_SLICE = 4096
# JSON text sequences put a record separator before each record.
_BETWEEN = re.compile("[ \t\r\n\x1e,\\[\\]\ufeff]*+")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """Let what is decoded in this thread be ended by what this raises."""
    token = _INTERRUPT.set(interrupt)
    try:
        yield
    finally:
        _INTERRUPT.reset(token)


def _interrupt() -> None:
    if interrupt := _INTERRUPT.get(None):
        interrupt()


def decode_records(data: bytes) -> Iterator[Found]:
    """Yield every record in the bytes, and every malformed stretch between records.

    How far a malformed stretch reaches is told in `docs/rules.md`, and by `_Stretch`.
    """
    text, all_valid = _decode_text(data)
    place = _Place(text, ascii_only=len(text) == len(data))
    decoder = _Decoder(text)
    position = number = 0
    while (position := _skip(_BETWEEN, text, position)) < len(text):
        number += 1
        if number % _RECORDS_A_TIME == 0:
            _interrupt()
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


def _skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _decode_one(
    decoder: "_Decoder", text: str, start: int
) -> tuple[int, dict[str, Any] | Rejection, bool]:
    """Decode the record that begins here, or find where the malformed stretch here ends.

    Also tell whether the text ends within it.
    """
    unfinished, junk = False, _NOT_AN_OBJECT
    if text[start] == "{":
        try:
            value, stop = decoder.decode(start)
        except _Malformed as error:
            junk = Rejection("malformed_json", f"the record is not valid JSON: {error.why}")
            unfinished = error.unfinished
        else:
            return stop, value, False
    else:
        # Most junk is a line that holds no record.
        end = _skip(_PLAIN, text, start)
        if (end == len(text) or text[end] != "{") and not _MEMBER.match(text, start):
            return start + len(text[start:end].rstrip(" \t\r\n\x1e,[]")), junk, end == len(text)
    stop, ran_out = _Stretch(text, start).find_end()
    return stop, junk, unfinished or ran_out


# --- decoding -----------------------------------------------------------------------------------


class _Malformed(Exception):  # noqa: N818 - what befalls a record
    """No whole record begins here; `unfinished` if one might with more text."""

    def __init__(self, why: str, *, unfinished: bool = False) -> None:
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
    return _NoNumber(f"is {name}, which JSON does not know")


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


class _Decoder:
    """Decodes the objects of a text, asked for in rising order.

    `_unclosed` are the places before `_known` where an object begins that doesn't end, so that they
    are found out once, however many there are.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._known = 0
        self._unclosed: frozenset[int] = frozenset()

    def decode(self, start: int) -> tuple[dict[str, Any] | Rejection, int]:
        """Decode the object that begins here; return where it ends, too.

        Raises:
            _Malformed: there is no whole object.
        """
        piece = self._text[start : start + _SLICE]
        try:
            value, length = _decode_piece(piece)
        except (ValueError, RecursionError) as error:
            if not _ran_out(error, piece):
                raise _Malformed(_why(error)) from None
            stop = self._find_close(start)
            if stop is None:
                ran_out = start + _SLICE >= len(self._text) or self._known == len(self._text)
                raise _Malformed(_why(error), unfinished=ran_out) from None
            try:
                value, length = _decode_piece(self._text[start:stop])
            except (ValueError, RecursionError) as second:
                raise _Malformed(_why(second)) from None
        return value, start + length

    def _find_close(self, start: int) -> int | None:
        """Return where the object that begins here ends, by its brackets; None if it doesn't.

        Raises:
            _Malformed: it nests too deep.
        """
        if start < self._known and start in self._unclosed:
            return None
        opened: list[tuple[int, str]] = []
        position, number = start, 0
        while match := _TO_BRACKET.match(self._text, position):
            position, bracket, number = match.end(), match[1], number + 1
            if number % _TOKENS_A_TIME == 0:
                _interrupt()
            if bracket in _PARTNER:
                if not opened or opened.pop()[1] != _PARTNER[bracket]:
                    break
                if not opened:
                    return position
            elif bracket and bracket != '"':
                opened.append((match.start(1), bracket))
                if len(opened) > MAX_DEPTH:
                    raise _Malformed(_why(RecursionError()))
            else:
                # A string that the text's end cuts is no error yet.
                position = len(self._text) if _TAIL.match(self._text, match.start(1)) else position
                break
        self._known = position
        self._unclosed = frozenset(at for at, bracket in opened if bracket == "{") | {start}
        return None


def _decode_piece(piece: str) -> tuple[dict[str, Any] | Rejection, int]:
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
    return Rejection("malformed_json", "a number that JSON does not know, or that is too long")


def _shown(key: str) -> str:
    """Return a key as text that a database stores."""
    return ascii(key)[1:-1][:_LONGEST_KEY]


_LONGEST_KEY = 100


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


# --- malformed stretches ------------------------------------------------------------------------

_STRING = r'"(?:[^"\\\r\n]++|\\[^\r\n])*+"'
# A string that the end of the text cuts.
_TAIL = re.compile(r'"(?:[^"\\\r\n]++|\\[^\r\n])*+\\?\Z')
_WORD = r"""(?:[^ \t\r\n\x1e"{}\[\],:\\]++|\\["\\]?)++""".replace(" ", "\\ ")
_TOKEN = re.compile(
    rf"""
    (?P<key>(?<!\\){_STRING}[ \t]*+:)
    | (?P<value>
        (?<!\\){_STRING}(?=[ \t]*+(?:[,}}\]\r\n]|\Z))  # what follows tells a closing quote
        | {_WORD}(?:[ \t]++{_WORD})*+
      )(?P<comma>[ \t]*+,++)?
    | (?P<cut>(?<!\\)"(?=(?:[^"\\\r\n]++|\\[^\r\n])*+\\?\Z))
    | (?P<quote>"(?:"++(?="))?)
    | (?P<line>[\r\n\x1e][ \t\r\n\x1e]*+)
    | (?P<braces>\{{++)
    | (?P<ends>\}}++)
    | (?P<brackets>\[++)
    | (?P<bracket_ends>\]++)
    | (?P<commas>,++)
    | (?P<colons>:++)
    """,
    re.VERBOSE,
)
_BRACE, _BRACKET = b"{["
# The deepest indentation that is looked at.
_DEEPEST = 1000
# What a record begins with.
_HEAD = re.compile(r'\{[ \t\r\n]*+("(?:[^"\\\r\n]++|\\[^\r\n])*+")[ \t\r\n]*+:')
_LINE_HEAD = re.compile(r'\{[ \t\r\n]*+["}]')
# A record that has lost its opening brace begins with a key.
_MEMBER = re.compile(rf"{_STRING}[ \t]*+:")
_PLAIN = re.compile(r"[^{\r\n\x1e]*+")
# The first brace of a pretty-printed record, and the blanks before its first key.
_FIRST_LINE = re.compile(r'\{[^"\r\n]*+[\r\n][ \t\r\n]*+')
# Objects within each other that may be the next record: more are nested, or nonsense.
_MOST_CANDIDATES = 8
_FOLLOWED = re.compile(r'[^"{}:\w]*+(?:\{|(\Z))')


class _Candidate(NamedTuple):
    """A brace within a malformed stretch where a record may begin: it does if it can be decoded.

    Attributes:
        start: where.
        stop: where the stretch before it ends.
        depth: how many brackets are open before it.
        is_alike: it must have all the keys of the damaged record, and another must follow.
    """

    start: int
    stop: int
    depth: int
    is_alike: bool


@dataclass(slots=True)
class _Stretch:
    """Finds where a malformed stretch ends: before the next record, or behind its own text.

    Brackets and strings are followed as far as they make sense; a quotation mark that can't be the
    end of a string is passed over. A `{` begins the next record

    - on a line that begins with it, where no value is expected, or after a line that ends with `}`;
    - where all brackets are closed;
    - elsewhere where no value is expected, or on a line that begins with it, or with bare words and
      it, as lines of other logs do, if from there a whole object can be decoded;
    - where a value is expected, if the object there has all keys that the damaged record has, and
      another record, or the end, follows: a record was cut right before it.

    So the objects within the damaged record are no records. Lines of a pretty-printed record are
    indented deeper than records are.

    Attributes:
        text: all text.
        start: where the stretch begins.
        last: end of the last thing that is more than layout.
        opened: brackets that are open, innermost last.
        arrays: how many of them are `[`.
        before: kind of what stands before, layout apart: a bracket, comma or colon, `"` for a
            string, or a blank for anything else.
        begins_line: nothing but commas and brackets since the line began.
        after_words: nothing but bare words, and colons, since the line began.
        indent: blanks at the beginning of that line.
        deepest: a record's line is indented less than this.
        keys: the keys of the damaged record itself.
        candidates: objects that are open, and may be the next record.
        ran_out: with more text the result might be another.
    """

    text: str
    start: int
    last: int = 0
    opened: bytearray = field(default_factory=bytearray)
    arrays: int = 0
    before: str = " "
    begins_line: bool = False
    after_words: bool = False
    indent: int = 0
    deepest: float = float("inf")
    keys: set[str] = field(default_factory=set)
    candidates: list[_Candidate] = field(default_factory=list)
    ran_out: bool = False

    def find_end(self) -> tuple[int, bool]:
        """Return where it ends, and whether with more text that might be elsewhere."""
        text, start = self.text, self.start
        self.last = start + 1
        position = start
        if text[start] == "{":
            first_key = _skip(_FIRST_LINE, text, start)
            self.deepest = _indent(text, start, first_key)
            if not self.deepest and text[first_key : first_key + 1] != '"':
                self.deepest = float("inf")  # nothing but the brace is on the line
            self.opened, self.before, position = bytearray(b"{"), "{", start + 1
        elif _MEMBER.match(text, start):
            self.deepest = _indent(text, max(0, start - _DEEPEST), start) or self.deepest
            self.opened, self.before = bytearray(b"{"), "{"
        tokens = _TOKEN.finditer(text, position)
        for token in tokens:
            for one in chain((token,), islice(tokens, _TOKENS_A_TIME)):
                stop = _TAKE[one.lastgroup or ""](self, one)
                if stop is not None:
                    return stop, self.ran_out
            _interrupt()
        return self.last, True

    def _take_key(self, token: re.Match[str]) -> None:
        if len(self.opened) == 1:
            self.keys.add(token[0].rstrip(": \t")[1:-1])
        self._take(token.end(), ":")

    def _take_value(self, token: re.Match[str]) -> None:
        first = self.text[token.start()]
        is_text = first == '"'
        # Bytes among the blanks before an object, such as NULs, are no words.
        after_words = not is_text and (self.begins_line or self.after_words) and first.isprintable()
        self._take(token.end("value"), '"' if is_text else " ")
        self.after_words = after_words

    def _take_value_and_comma(self, token: re.Match[str]) -> None:
        self._take_value(token)
        self.before = ","

    def _take_quote(self, token: re.Match[str]) -> None:
        self._take(token.end(), " ")

    def _take_cut_string(self, token: re.Match[str]) -> None:
        self.ran_out = True
        self._take(token.end(), " ")

    def _take_colons(self, token: re.Match[str]) -> None:
        # Where no record is open, a value follows a key alone: `INFO: {` is text before a record.
        is_key = self.opened or self.text.endswith('"', 0, token.start())
        after_words = self.after_words
        self._take(token.end(), ":" if is_key else " ")
        self.after_words = after_words

    def _take(self, end: int, kind: str) -> None:
        self.last, self.before, self.begins_line, self.after_words = end, kind, False, False

    def _take_commas(self, _: re.Match[str]) -> None:
        self.before = ","

    def _take_line(self, token: re.Match[str]) -> int | None:
        if not self.opened:
            return self.last
        blanks = token[0]
        self.begins_line, self.after_words = True, False
        self.indent = len(blanks) - 1 - max(map(blanks.rfind, "\n\r\x1e"))
        return None

    def _take_arrays(self, token: re.Match[str]) -> None:
        inside, before = self._inside(), self.before
        # Around records, an array is layout; so is one that begins where no value can.
        if (inside or before == ":") and not (before in "]}" or (inside == "{" and before in ",{")):
            number = token.end() - token.start()
            self.opened += b"[" * number
            self.arrays += number
            self.last, self.before = token.end(), "["

    def _inside(self) -> str:
        return chr(self.opened[-1]) if self.opened else ""

    def _expects_value(self) -> bool:
        return self.before == ":" or (self.before in "[," and self._inside() == "[")

    def _take_array_ends(self, token: re.Match[str]) -> None:
        if self.opened:
            self.last = token.end()
        for _ in range(min(token.end() - token.start(), self.arrays)):
            while self.opened.pop() != _BRACKET:
                pass
            self.arrays -= 1
        self._forget_closed()
        self.before = "]"

    def _forget_closed(self) -> None:
        while self.candidates and self.candidates[-1].depth >= len(self.opened):
            self.candidates.pop()

    def _take_braces(self, token: re.Match[str]) -> int | None:
        at = token.end() - 1
        extra = at - token.start()
        if not extra and self.before == ":" and len(self.candidates) >= _MOST_CANDIDATES:
            # Deep in nested objects.
            self.opened += b"{"
            self._take(at + 1, "{")
            return None
        if extra:
            self.opened += b"{" * extra
            self._take(at, "{")
        if self._begins_record(at):
            return self.last
        self.opened += b"{"
        self._take(at + 1, "{")
        return None

    def _begins_record(self, at: int) -> bool:
        """Tell whether the next record surely begins here; note it if it perhaps does."""
        text, before = self.text, self.before
        if self.begins_line and before == "}":
            return True
        own_line = self.begins_line and self.indent < self.deepest
        if self._follows_words():
            if _HEAD.match(text, at):
                self._note(at, is_alike=False)
            return False
        if self._expects_value():
            self._note_value(at, own_line=own_line)
            return False
        if own_line and _LINE_HEAD.match(text, at):
            return True
        head = _HEAD.match(text, at)
        if head is None or not self.opened:
            return head is not None
        if len(self.opened) > 1:
            self._note(at, is_alike=True)
        # After anything else, a colon may be missing, or there is more behind it.
        elif before in ",{}]" or self._may_be_first_key(head[1]):
            self._note(at, is_alike=False)
        return False

    def _note_value(self, at: int, *, own_line: bool) -> None:
        if own_line and not self.candidates:
            self._note(at, is_alike=False)
        elif self.keys and len(self.candidates) < _MOST_CANDIDATES:
            self._note(at, is_alike=True)

    def _follows_words(self) -> bool:
        outside = bool(self.opened) and self.indent < self.deepest
        return self.after_words and outside and self.before != ","

    def _may_be_first_key(self, key: str) -> bool:
        head = _HEAD.match(self.text, self.start)
        return head is None or head[1] == key

    def _note(self, at: int, *, is_alike: bool) -> None:
        self.candidates.append(_Candidate(at, self.last, len(self.opened), is_alike))

    def _take_brace_ends(self, token: re.Match[str]) -> int | None:
        for end in range(token.start() + 1, token.end() + 1):
            while self.opened and self.opened.pop() != _BRACE:
                self.arrays -= 1
            while self.candidates and self.candidates[-1].depth >= len(self.opened):
                candidate = self.candidates.pop()
                if candidate.depth == len(self.opened) and self._is_record(candidate, end):
                    return candidate.stop
            if not self.opened:
                break
        self._take(token.end(), "}")
        return None

    def _is_record(self, candidate: _Candidate, end: int) -> bool:
        followed = _FOLLOWED.match(self.text, end) if candidate.is_alike else None
        if candidate.is_alike and followed is None:
            return False
        try:
            value, length = _decode_piece(self.text[candidate.start : end])
        except (ValueError, RecursionError):
            # Nor can what is around it be decoded.
            self.candidates.clear()
            return False
        if candidate.is_alike and not (isinstance(value, dict) and self.keys <= value.keys()):
            return False
        self.ran_out |= bool(followed and followed[1] is not None)
        return candidate.start + length == end


def _indent(text: str, start: int, stop: int) -> float:
    """Return how many blanks begin the line that ends here; infinite where anything else does."""
    line = text[start:stop].rstrip(" \t")
    return stop - start - len(line) if line.endswith(("\n", "\r", "\x1e")) else float("inf")


_TAKE = {
    "key": _Stretch._take_key,  # noqa: SLF001
    "value": _Stretch._take_value,  # noqa: SLF001
    "comma": _Stretch._take_value_and_comma,  # noqa: SLF001
    "cut": _Stretch._take_cut_string,  # noqa: SLF001
    "quote": _Stretch._take_quote,  # noqa: SLF001
    "line": _Stretch._take_line,  # noqa: SLF001
    "braces": _Stretch._take_braces,  # noqa: SLF001
    "ends": _Stretch._take_brace_ends,  # noqa: SLF001
    "brackets": _Stretch._take_arrays,  # noqa: SLF001
    "bracket_ends": _Stretch._take_array_ends,  # noqa: SLF001
    "commas": _Stretch._take_commas,  # noqa: SLF001
    "colons": _Stretch._take_colons,  # noqa: SLF001
}


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
