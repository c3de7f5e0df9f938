"""Finding records in bytes, however they are laid out."""

import json
from random import Random
from typing import Any

import pytest
from damage import DAMAGES, LAYOUTS, damaged, pieces_of_junk
from hypothesis import given
from hypothesis import strategies as st
from sizes import examples
from trees import event

from sparkify_bulk.extract.decoder import interruptible
from sparkify_bulk.extract.records import decode_records, end_of_whole_records
from sparkify_bulk.source.batches import BOUNDARY
from sparkify_bulk.transform.rejection import Rejection

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=4)


def good(data: bytes) -> list[object]:
    """Return the records that can be decoded."""
    return [found.value for found in decode_records(data) if not isinstance(found.value, Rejection)]


@given(OBJECTS, st.sampled_from([None, 1]), st.sampled_from(["\n", "\r\n", "", " ", ",\n"]))
def test_any_objects_in_any_layout_are_found(
    objects: list[object], indent: int | None, separator: str
) -> None:
    """Whatever objects are written, one after the other or in an array, they are found again."""
    texts = [json.dumps(each, indent=indent) for each in objects]
    assert good(separator.join(texts).encode()) == objects
    assert good(json.dumps(objects, indent=indent, ensure_ascii=True).encode()) == objects


@given(OBJECTS.filter(bool), st.sampled_from([None, 1]), st.data())
def test_a_record_that_is_not_whole_waits_for_the_rest(
    objects: list[object], indent: int | None, data: st.DataObject
) -> None:
    """Cut anywhere, the whole records before the cut and the rest give all records."""
    text = json.dumps(objects, indent=indent).encode()
    cut = end_of_whole_records(text[: data.draw(st.integers(0, len(text)))])
    assert good(text[:cut]) + good(text[cut:]) == objects


@given(st.binary(max_size=200))
def test_every_byte_is_in_one_place(data: bytes) -> None:
    """Whatever the bytes, what is found follows each other, and between is nothing but layout."""
    position = 0
    for found in decode_records(data):
        assert position <= found.start < found.stop <= len(data)
        position = found.stop


@pytest.mark.parametrize("depth", [100_000])
def test_depth_without_end_is_a_reject(depth: int) -> None:
    """Nesting that no stack can hold rejects the record instead of ending the process."""
    (found,) = decode_records(b'{"a": ' + b"[" * depth + b"]" * depth + b"}")
    assert isinstance(found.value, Rejection)
    assert found.value.reason == "malformed_json"


# --- one bad record costs one record --------------------------------------------------------------


def nested(number: int) -> dict[str, Any]:
    """Return a record that holds objects of its own, in every place."""
    device = {"id": number, "parts": [{"id": 1}, {"id": 2, "maker": {"song": "none"}}]}
    return {
        "song": f"Zoë {number}",
        "artist": 'The "Band", {x} [y]: z',
        "item": number,
        "device": device,
        "tags": ["a", {"song": "b"}, [1, 2]],
        "level": None,
    }


def spans(data: bytes, start: int = 0) -> list[tuple[int, int, bool]]:
    """Return where everything found begins and ends, and whether it is a record."""
    return [
        (start + found.start, start + found.stop, not isinstance(found.value, Rejection))
        for found in decode_records(data)
    ]


@examples(1500)
@given(
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(list(DAMAGES)),
    st.booleans(),
    st.integers(0, 4),
    st.randoms(use_true_random=False),
)
def test_one_damaged_record_costs_no_other(
    layout: str, damage: str, flat: bool, hit: int, chance: Random
) -> None:
    """Whatever befalls a record, anywhere in it and in any layout, all others are found.

    There is one malformed stretch, and the objects within the damaged record are no records; and so
    it is wherever the bytes are cut to be read in pieces.
    """
    records = [event(number) if flat else nested(number) for number in range(5)]
    data = damaged(records, hit, layout, damage, chance)
    values = [found.value for found in decode_records(data)]
    records_found = [value for value in values if not isinstance(value, Rejection)]
    for record in records[:hit] + records[hit + 1 :]:
        assert record in records_found
    most = DAMAGES[damage][1] + pieces_of_junk(layout, len(records))
    assert len(values) - len(records_found) <= most
    if "brace too many" not in damage:
        assert len(records_found) <= len(records)
    whole = spans(data)
    cuts = [end_of_whole_records(data[: chance.randrange(len(data))]) for _ in range(3)]
    cuts += [match.end() for match in BOUNDARY.finditer(data)]
    for cut in cuts:
        assert spans(data[:cut]) + spans(data[cut:], cut) == whole


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}, bad}',
        '{"a": [{"b": 1}, {"b": 2}], "c": }',
        '{"a": x, "b": {"c": 1}}',
        '{"a": {"a": 1}, "b" 2}',
        '{\n  "a": [\n    {"b": 1},\n    {"b": 2}\n  ],\n  "c": x\n}',
        '{"a": 1, "b": {"c": {"d": 1}, "e": NaN}, "f": [{"g": 1}]}',
    ],
)
def test_objects_within_a_damaged_record_are_no_records(text: str) -> None:
    """What is nested in a record that can't be decoded goes with it."""
    data = f'{{"a": 0}}\n{text}\n{{"a": 9}}\n'.encode()
    first, (bad,), last = (
        [found for found in decode_records(data) if test(found)]
        for test in (
            lambda found: found.value == {"a": 0},
            lambda found: isinstance(found.value, Rejection),
            lambda found: found.value == {"a": 9},
        )
    )
    assert len(first) == len(last) == 1
    assert data[bad.start : bad.stop].decode() == text
    assert len(list(decode_records(data))) == 3


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ('{"length": NaN}', "length", "is NaN, which is not valid JSON"),
        ('{"a": {"b": [1, -Infinity]}}', "a", "is -Infinity, which is not valid JSON"),
        ('{"ts": ' + "7" * 5000 + "}", "ts", "is a number of too many digits"),
        ('{"z\\u0000\\ud800": NaN}', "z\\x00\\ud800", "is NaN, which is not valid JSON"),
    ],
)
def test_what_is_no_number_is_named_with_its_key(value: str, key: str, words: str) -> None:
    """NaN, Infinity and endless numbers reject their record alone, and name the record's key."""
    before, bad, after = decode_records(f'[{{"a": 1}}, {value}, {{"a": 2}}]'.encode())
    assert (before.value, after.value) == ({"a": 1}, {"a": 2})
    assert isinstance(bad.value, Rejection)
    assert bad.value.column == key
    assert bad.value.detail == f"the value of {key} {words}"


def test_decoding_can_be_ended_in_the_middle() -> None:
    """Long bytes, of one stretch or of many records, ask from time to time whether to go on."""

    class EndedError(Exception):
        pass

    def end() -> None:
        raise EndedError

    for data in (b'{"a":' * 100_000, b'{"a": 1}\n' * 5000, b"noise\n" * 5000):
        with interruptible(end), pytest.raises(EndedError):
            list(decode_records(data))


@pytest.mark.parametrize("separator", ["\0", "|", "\n\0", "\x0b", "\x1e", "\n\x1e", "\n\ufeff"])
def test_damaged_records_beside_each_other_cost_no_other(separator: str) -> None:
    """Whatever stands between records, two that are cut short are followed by all others."""
    records = [event(number) for number in range(9)]
    texts = [json.dumps(record) for record in records]
    for first, second in ((0, 1), (3, 4)):
        cut = [
            text[:90] if number in (first, second) else text for number, text in enumerate(texts)
        ]
        found = good(separator.join(cut).encode())
        assert found == records[:first] + records[second + 1 :]
