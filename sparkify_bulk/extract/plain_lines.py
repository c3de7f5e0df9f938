"""Lines that the fast path may take, told from those that it can't."""

import orjson
import polars as pl

from sparkify_bulk.extract.segments import BLANK, LONG_BYTES, Segment, piece
from sparkify_bulk.transform.parsing import has_odd_integers
from sparkify_bulk.transform.rules import Rules

# Different shapes of records that are remembered.
_MOST_SHAPES = 10_000
_ODD_INTEGER = (str, int, float, type(None))
_TYPES: dict[pl.DataType, tuple[type, ...]] = {
    pl.String(): (str, type(None)),
    pl.Int64(): (int, type(None)),
    pl.Float64(): (int, float, type(None)),
}


def sort_lines(segments: list[Segment], rules: Rules) -> tuple[list[Segment], list[Segment]]:
    """Part lines that look like records of their own from all others, each in runs of lines.

    They are parted only where the salvage path parts them, too: behind a whole record, and between
    a line that ends with a `}` and one that begins with a `{`.
    """
    runs: dict[bool, list[Segment]] = {True: [], False: []}
    shapes = _Shapes(rules, odd=any(has_odd_integers(one.data, rules) for one in segments))
    for segment in segments:
        kind, closed = True, True
        start, position, first = 0, 0, 0
        for number, line in enumerate(segment.data.split(b"\n")):
            words = line.strip(BLANK)
            if words:
                is_plain = (kind or closed) and shapes.is_plain(words)
                if is_plain != kind:
                    runs[kind].append(piece(segment, start, position, first))
                    kind, start, first = is_plain, position, number
                closed = words.endswith(b"}")
            position += len(line) + 1
        runs[kind].append(piece(segment, start, position, first))
    return [run for run in runs[True] if run.data], runs[False]


class _Shapes:
    """Tells whether a line is one record whose values have types that Polars reads as they are.

    A log has few shapes of records, which are remembered.
    """

    def __init__(self, rules: Rules, *, odd: bool) -> None:
        """Begin; `odd` if whole numbers may be written as text or floats."""
        self._types = {
            field.key: _ODD_INTEGER if odd and field.is_whole else _TYPES[field.parsed]
            for field in rules.fields
        }
        self._seen: dict[tuple[object, ...], bool] = {}

    def is_plain(self, line: bytes) -> bool:
        """Look at a line without blanks around it."""
        if not line.startswith(b"{") or len(line) > LONG_BYTES:
            return False
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            return False
        shape = (*record, *map(type, record.values()))
        seen = self._seen
        if shape not in seen:
            if len(seen) >= _MOST_SHAPES:
                seen.clear()
            seen[shape] = all(type(record.get(key)) in kinds for key, kinds in self._types.items())
        return seen[shape]
