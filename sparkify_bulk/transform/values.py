"""What one decoded value must be, and what it is stored as: the check of the salvage path."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from sparkify_bulk.transform.fields import BITS, Field
from sparkify_bulk.transform.rejection import Rejection

Record = Mapping[str, Any]
Value = str | int | float | None

# Digits of the largest number of 64 bits.
_LONGEST_INTEGER = 19
# U+0000, and halves of surrogate pairs, which UTF-8 doesn't know.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_INTEGRAL = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)


class Check(NamedTuple):
    """How one field is read; made once, so that little is looked up for every value.

    Attributes:
        key: JSON key.
        name: of its column, or the key of what has none.
        is_required: neither missing nor null.
        read: returns a value as it is stored, or raises Rejection.
    """

    key: str
    name: str
    is_required: bool
    read: Callable[[Any], Value]


def checks_of(fields: Iterable[Field]) -> list[Check]:
    """Return how fields are read, in their order."""
    return [
        Check(field.key, field.column or field.key, field.is_required, _reader(field))
        for field in fields
    ]


def read_row(record: Record, checks: list[Check]) -> dict[str, Value]:
    """Return what a record has for each field, as it is stored.

    Raises:
        Rejection: something isn't what it must be.
    """
    row: dict[str, Value] = {}
    for key, name, is_required, read in checks:
        value = record.get(key)
        if value is not None:
            row[name] = read(value)
        elif is_required:
            raise _missing(record, key)
        else:
            row[name] = None
    return row


def _reader(field: Field) -> Callable[[Any], Value]:
    read, unknown = _READERS[field.type](field), field.unknown
    if unknown is None:
        return read

    def read_known(value: object) -> Value:
        known = read(value)
        return None if known == unknown else known

    return read_known


def _missing(record: Record, key: str) -> Rejection:
    detail = f"{key} is missing or null"
    if key not in record and any(map(_is_list_of_records, record.values())):
        detail += "; the object holds a list of objects: take the records out of it, one by one"
    return Rejection("missing_field", detail, key)


def _is_list_of_records(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], dict)


def _empty(key: str) -> Rejection:
    return Rejection("missing_field", f"{key} is empty", key)


def _text(field: Field) -> Callable[[Any], str]:
    key, is_filled, max_bytes = field.key, field.is_filled, field.max_bytes
    search = _UNSTORABLE.search

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise Rejection("wrong_type", f"{key} is not text", key)
        if is_filled and not value:
            raise _empty(key)
        # Nearly all text is plain, and that is found out sooner.
        if "\0" in value or (not value.isascii() and search(value)):
            detail = f"{key} holds a character no database can store"
            raise Rejection("unstorable_text", detail, key)
        if max_bytes and len(value.encode()) > max_bytes:
            raise Rejection("out_of_range", f"{key} is longer than {max_bytes} bytes", key)
        return value

    return read


def _whole(field: Field) -> Callable[[Any], int | None]:
    """Read integral numbers in any spelling, in quotes or not; empty text is None.

    Floats are decimals as they were written, so that none is rounded.
    """
    key, is_required, (least, greatest) = field.key, field.is_required, field.bounds

    def read(value: object) -> int | None:
        if value == "":
            if is_required:
                raise _empty(key)
            return None
        if type(value) is not int:
            value = _exact(value, key)
        if not least <= value <= greatest:
            raise _outside(value, field)
        return value

    return read


def _exact(value: object, key: str) -> int:
    """Return a decimal, or text, as an integer; one with a huge exponent would take all memory."""
    if isinstance(value, str) and _INTEGRAL.fullmatch(value):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise Rejection("wrong_type", f"{key} is not a whole number", key)
    if not value:
        return 0
    if value.adjusted() >= _LONGEST_INTEGER:
        raise _too_long(key, 64)
    if value != value.to_integral_value():
        raise Rejection("wrong_type", f"{key} is not a whole number", key)
    return int(value)


def _outside(value: int, field: Field) -> Rejection:
    if not -(2**63) <= value < 2**63:
        return _too_long(field.key, 64)
    if field.limits is None:
        return _too_long(field.key, BITS[field.type])
    detail = f"{field.key} lies outside {field.limits.words}{field.limits.hint(value)}"
    return Rejection("out_of_range", detail, field.key)


def _too_long(key: str, bits: int) -> Rejection:
    return Rejection("out_of_range", f"{key} does not fit {bits} bits", key)


def _number(field: Field) -> Callable[[Any], float | None]:
    key, is_required = field.key, field.is_required

    def read(value: object) -> float | None:
        if value == "":
            if is_required:
                raise _empty(key)
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise Rejection("wrong_type", f"{key} is not a number", key)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Rejection("out_of_range", f"{key} is too large a number", key)
        return number

    return read


_READERS: dict[str, Callable[[Field], Callable[[Any], Value]]] = {
    "text": _text,
    "smallint": _whole,
    "integer": _whole,
    "bigint": _whole,
    "double precision": _number,
}
