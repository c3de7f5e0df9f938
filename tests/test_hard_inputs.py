"""Hard inputs, as data: each is either read right or rejected for the right reason."""

import json
from typing import Any

import pytest
from trees import MOMENT, event, song

from sparkify_bulk.extract import Segment, _parse, _salvage
from sparkify_bulk.manifest import Batch, Kind
from sparkify_bulk.transform import RULES

# kind, key, JSON text of its value (None: key left out), reason of the reject or value of the row.
CASES: list[tuple[Kind, str, str | None, str, Any]] = [
    ("events", "ts", "1541105830796.0", "accepted", 1541105830796),
    ("events", "ts", "0", "accepted", 0),
    ("events", "ts", "4102444800000", "accepted", 4102444800000),
    ("events", "ts", "4102444800001", "out_of_range", None),
    ("events", "ts", "-1", "out_of_range", None),
    ("events", "ts", "1e300", "out_of_range", None),
    ("events", "ts", '"1541105830796"', "wrong_type", None),
    ("events", "ts", "1.5", "wrong_type", None),
    ("events", "ts", "true", "wrong_type", None),
    ("events", "ts", "null", "missing_field", None),
    ("events", "ts", None, "missing_field", None),
    ("events", "userId", '""', "missing_field", None),
    ("events", "userId", "null", "missing_field", None),
    ("events", "userId", "39", "accepted", 39),
    ("events", "userId", "39.0", "accepted", 39),
    ("events", "userId", '"39.0"', "accepted", 39),
    ("events", "userId", '"9007199254740993"', "accepted", 9007199254740993),
    ("events", "userId", '"9223372036854775808"', "out_of_range", None),
    ("events", "userId", '"x"', "wrong_type", None),
    ("events", "userId", '" 39"', "wrong_type", None),
    ("events", "sessionId", '"40"', "wrong_type", None),
    ("events", "sessionId", "9007199254740993", "accepted", 9007199254740993),
    ("events", "itemInSession", None, "missing_field", None),
    ("events", "level", '""', "missing_field", None),
    ("events", "level", "1", "wrong_type", None),
    ("events", "page", None, "missing_field", None),
    ("events", "page", "7", "wrong_type", None),
    ("events", "song", '"\\u0000"', "unstorable_text", None),
    ("events", "song", '"\\ud800"', "unstorable_text", None),
    ("events", "song", '"\\ud83d\\ude00"', "accepted", "😀"),
    ("events", "song", "12", "wrong_type", None),
    ("events", "song", '"12"', "accepted", "12"),
    ("events", "song", '{"a": 1}', "wrong_type", None),
    ("events", "artist", '"\\\\."', "accepted", "\\."),
    ("events", "length", "1e400", "out_of_range", None),
    ("events", "length", '"1"', "wrong_type", None),
    ("events", "location", '""', "accepted", None),
    ("songs", "song_id", '""', "missing_field", None),
    ("songs", "song_id", json.dumps("k" * 256), "accepted", "k" * 256),
    ("songs", "song_id", json.dumps("k" * 257), "out_of_range", None),
    ("songs", "artist_id", json.dumps("é" * 129), "out_of_range", None),
    ("songs", "year", "0", "accepted", None),
    ("songs", "year", "null", "accepted", None),
    ("songs", "year", "2001.0", "accepted", 2001),
    ("songs", "year", '"2001"', "wrong_type", None),
    ("songs", "year", "10000", "out_of_range", None),
    ("songs", "year", "-1", "out_of_range", None),
    ("songs", "duration", "NaN", "malformed_json", None),
    ("songs", "duration", "null", "missing_field", None),
    ("songs", "title", "null", "missing_field", None),
    ("songs", "artist_location", '""', "accepted", None),
    ("songs", "artist_latitude", '"52"', "wrong_type", None),
]
COLUMNS = {
    "userId": "user_id", "sessionId": "session_id", "song": "song_title", "artist": "artist_name",
    "length": "duration", "artist_location": "location",
}  # fmt: skip


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(("kind", "key", "text", "outcome", "value"), CASES)
def test_each_value_is_read_right_or_rejected(
    *, kind: Kind, key: str, text: str | None, outcome: str, value: Any, slow: bool
) -> None:
    """A value in any spelling gives its row on either path, or the reject that names its key."""
    record = event() if kind == "events" else song()
    del record[key]
    data = json.dumps(record).encode()
    if text is not None:
        data = data[:-1] + f', "{key}": {text}}}'.encode()
    segment, batch = Segment(0, data, 0, 0), Batch(0, kind, ".", "x.json", len(data))
    rules = RULES[kind]
    (found,) = [_salvage([segment], rules, batch)] if slow else _parse([segment], rules, batch)
    if outcome == "accepted":
        assert found.rejects == []
        assert found.frame.get_column(COLUMNS.get(key, key)).to_list() == [value]
    else:
        assert found.frame.height == 0
        (reject,) = found.rejects
        assert (reject.reason, reject.raw) == (outcome, data)
        assert reject.column == (None if outcome == "malformed_json" else key)


def test_the_first_of_equal_keys_counts() -> None:
    """A key that stands twice counts where it stands first, on both paths."""
    data = (
        json.dumps(event(level="free")).encode()[:-1]
        + f', "level": "paid", "ts": {MOMENT}}}'.encode()
    )
    segment, batch = Segment(0, data, 0, 0), Batch(0, "events", ".", "x.json", len(data))
    (one,) = _parse([segment], RULES["events"], batch)
    other = _salvage([segment], RULES["events"], batch)
    assert one.frame.rows() == other.frame.rows()
    assert one.frame.get_column("level").to_list() == ["free"]
