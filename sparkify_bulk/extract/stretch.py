"""Find where a malformed stretch of text ends, and the next record begins."""

import re
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import NamedTuple

from sparkify_bulk.extract.decoder import STRING, TOKENS_A_TIME, check_interrupt, decode_piece

_WORD = r"""(?:[^ \t\r\n\x1e"{}\[\],:\\]++|\\["\\]?)++""".replace(" ", "\\ ")
_TOKEN = re.compile(
    rf"""
    (?P<key>(?<!\\){STRING}[ \t]*+:)
    | (?P<value>
        (?<!\\){STRING}(?=[ \t]*+(?:[,}}\]\r\n]|\Z))  # what follows tells a closing quote
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
MEMBER = re.compile(rf"{STRING}[ \t]*+:")
PLAIN = re.compile(r"[^{\r\n\x1e]*+")
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
class Stretch:
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
            first_key = skip(_FIRST_LINE, text, start)
            self.deepest = _indent(text, start, first_key)
            if not self.deepest and text[first_key : first_key + 1] != '"':
                self.deepest = float("inf")  # nothing but the brace is on the line
            self.opened, self.before, position = bytearray(b"{"), "{", start + 1
        elif MEMBER.match(text, start):
            self.deepest = _indent(text, max(0, start - _DEEPEST), start) or self.deepest
            self.opened, self.before = bytearray(b"{"), "{"
        tokens = _TOKEN.finditer(text, position)
        for token in tokens:
            for one in chain((token,), islice(tokens, TOKENS_A_TIME)):
                stop = _TAKE[one.lastgroup or ""](self, one)
                if stop is not None:
                    return stop, self.ran_out
            check_interrupt()
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
            value, length = decode_piece(self.text[candidate.start : end])
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


def skip(pattern: re.Pattern[str], text: str, start: int) -> int:
    """Return where a match that begins here ends; here, if there is none."""
    match = pattern.match(text, start)
    return match.end() if match else start


_TAKE = {
    "key": Stretch._take_key,  # noqa: SLF001
    "value": Stretch._take_value,  # noqa: SLF001
    "comma": Stretch._take_value_and_comma,  # noqa: SLF001
    "cut": Stretch._take_cut_string,  # noqa: SLF001
    "quote": Stretch._take_quote,  # noqa: SLF001
    "line": Stretch._take_line,  # noqa: SLF001
    "braces": Stretch._take_braces,  # noqa: SLF001
    "ends": Stretch._take_brace_ends,  # noqa: SLF001
    "brackets": Stretch._take_arrays,  # noqa: SLF001
    "bracket_ends": Stretch._take_array_ends,  # noqa: SLF001
    "commas": Stretch._take_commas,  # noqa: SLF001
    "colons": Stretch._take_colons,  # noqa: SLF001
}
