"""Finding records in bytes, however they are laid out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkify_bulk.records import Rejection, decode_records, end_of_whole_records

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
