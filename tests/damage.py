"""Records in any layout, one of them damaged: what must not cost any other."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf'{_STRING}|[{{}}\[\]:,]|[^\s"{{}}\[\]:,]+')
_VALUE = re.compile(rf': ({_STRING}|[^\s"{{}}\[\]:,]+)(?=[,\n}}])')

# How texts of records are put together.
LAYOUTS: dict[str, Callable[[list[str]], str]] = {
    "one a line": "\n".join,
    "CRLF": "\r\n".join,
    "CR": "\r".join,
    "array, one a line": lambda texts: "[\n" + ",\n".join(texts) + "\n]\n",
    "array on one line": lambda texts: "[" + ", ".join(texts) + "]",
    "comma first": lambda texts: "[\n" + "\n,".join(texts) + "\n]",
    "glued": "".join,
    "blanks between": " ".join,
    "several arrays": lambda texts: "".join(f"[{text}]" for text in texts),
    "pretty-printed": "\n".join,
    "pretty-printed array": lambda texts: (
        "[\n" + ",\n".join("  " + text.replace("\n", "\n  ") for text in texts) + "\n]"
    ),
    "pretty-printed, CRLF": lambda texts: "\n".join(texts).replace("\n", "\r\n"),
    "JSON text sequence": lambda texts: "".join(f"\x1e{text}\n" for text in texts),
    "record separators": lambda texts: "".join(f"\x1e{text}" for text in texts),
    "NUL padding": lambda texts: "\0" * 300 + "\n".join(texts),
    "one a line, behind words": lambda texts: "\n".join(f"INFO [main]: {text}" for text in texts),
    "one a line, numbered": lambda texts: "\n".join(
        f"{number}: {text}" for number, text in enumerate(texts)
    ),
    "assignment": lambda texts: "window.plays = [ " + ",\n".join(texts) + " ]",
}
_JUNK_FIRST = ("NUL padding", "assignment")
_JUNK_BEFORE_EACH = ("one a line, behind words", "one a line, numbered")


def pieces_of_junk(layout: str, records: int) -> int:
    """Return how many pieces of junk stand between so many records."""
    return records if layout in _JUNK_BEFORE_EACH else int(layout in _JUNK_FIRST)


def write(record: dict[str, Any], layout: str) -> str:
    """Write a record as it stands in a layout."""
    return json.dumps(record, indent=2 if "pretty" in layout else None, ensure_ascii=False)


def _insert(text: str, what: str, chance: Random, first: int = 1) -> str:
    """Put something before a token, or at the end."""
    places = [match.start() for match in _TOKEN.finditer(text)]
    at = chance.choice([*places[first:], len(text)])
    return text[:at] + what + text[at:]


def _cut(text: str, start: int, stop: int, put: str = "") -> str:
    return text[:start] + put + text[stop:]


def _replace_value(text: str, put: str, chance: Random) -> str:
    match = chance.choice(list(_VALUE.finditer(text)))
    return _cut(text, match.start(1), match.end(1), put)


def _without_quote(text: str, chance: Random) -> str:
    match = chance.choice(list(re.finditer(_STRING, text)))
    at = chance.choice([match.start(), match.end() - 1])
    return _cut(text, at, at + 1)


def _without_colon(text: str, chance: Random) -> str:
    match = chance.choice(list(re.finditer('": ', text)))
    return _cut(text, match.start() + 1, match.start() + 2)


def _at_any_byte(text: str, what: str, chance: Random) -> str:
    at = chance.randrange(1, len(text))
    return text[:at] + what + text[at:]


# What may befall a record's text, and how many rejects that may cost. An additional brace ends or
# begins an object where it stands: what is behind it is a piece of its own.
DAMAGES: dict[str, tuple[Callable[[str, Random], str], int]] = {
    "NaN": (lambda text, chance: _replace_value(text, "NaN", chance), 1),
    "bare word": (lambda text, chance: _replace_value(text, "free", chance), 1),
    "torn": (lambda text, chance: text[: chance.randrange(1, len(text))], 1),
    "quote missing": (_without_quote, 1),
    "colon missing": (_without_colon, 1),
    "first brace missing": (lambda text, _: text[1:], 1),
    "last brace missing": (lambda text, _: text[:-1], 1),
    "brace too many": (lambda text, chance: _insert(text, "}", chance), 6),
    "open brace too many": (lambda text, chance: _insert(text, "{", chance), 6),
    "comma at the end": (lambda text, _: text[:-1] + ",}", 1),
    "comment": (lambda text, chance: _insert(text, "/* it's \" */", chance), 1),
    "comment of a line": (lambda text, chance: _insert(text, "# don't ", chance), 1),
    "junk behind": (lambda text, _: text + ' it"s noise', 1),
    "NUL": (lambda text, chance: _at_any_byte(text, "\0", chance), 1),
    "not UTF-8": (lambda text, chance: _at_any_byte(text, "\udcff", chance), 1),
}


def damaged(
    records: list[dict[str, Any]], hit: int, layout: str, damage: str, chance: Random
) -> bytes:
    """Write records in a layout, the one that is hit damaged in some place."""
    texts = [write(record, layout) for record in records]
    texts[hit] = DAMAGES[damage][0](texts[hit], chance)
    return LAYOUTS[layout](texts).encode(errors="surrogateescape")
