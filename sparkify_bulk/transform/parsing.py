"""How Polars is asked to parse records, and which of its answers can't be relied on.

It makes text of numbers, truth values, objects and arrays without a word, and rounds on the way.
"""

import re
from functools import cache

import polars as pl

from sparkify_bulk.transform.fields import Field
from sparkify_bulk.transform.rules import Rules, whole_number

Schema = dict[str, pl.DataType]

# Text that may stand for a number, a truth value, an object or an array in the file.
_DOUBTFUL = r"(?s)^(?:-?[0-9][-+.0-9A-Za-z()]*|true|false|\[.*\]|\{.*\})$"
_ESCAPED_KEY = re.compile(rb'[{,]\s*"[^"\\:]*\\u00')
# Where it is looked for whole numbers written otherwise, in bytes.
_FIRST_RECORDS = 2**16


def strict_schema(rules: Rules) -> Schema:
    """Return the schema that takes whole numbers only as they commonly are: some of them as text.

    Where a String is wanted, Polars makes text of numbers, rounded; where a Categorical is, it
    refuses them. Its categories are its own: those of all would be held until the process ends.
    """
    return {
        field.key: pl.Categorical(pl.Categories.random()) if field.is_quoted else field.parsed
        for field in rules.fields
    }


def integers_as_text(rules: Rules) -> Schema:
    """Return the schema that takes whole numbers as text, too."""
    return {field.key: pl.String() if field.is_whole else field.parsed for field in rules.fields}


def has_odd_integers(data: bytes, rules: Rules) -> bool:
    """Tell whether the first records hold whole numbers that the strict schema doesn't take."""
    return bool(_odd_integers(rules.fields).search(data, 0, _FIRST_RECORDS))


@cache
def _odd_integers(fields: tuple[Field, ...]) -> re.Pattern[bytes]:
    whole = [field for field in fields if field.is_whole]
    quoted = "|".join(field.key for field in whole if field.is_quoted)
    bare = "|".join(field.key for field in whole if not field.is_quoted)
    odd = [rf'"(?:{bare})"\s*:\s*(?:"|-?[0-9]+\.)'] if bare else []
    odd += [rf'"(?:{quoted})"\s*:\s*[-0-9]'] if quoted else []
    return re.compile("|".join(odd).encode())


def may_be_inexact(data: bytes, rules: Rules) -> bool:
    """Tell whether a whole number in the bytes may not be what Polars makes text of.

    That is so of a float, unless it is short and its fraction is zeros. A key that is spelt with
    escapes might be any key.
    """
    if _inexact(rules.fields).search(data):
        return True
    return b"\\u00" in data and _ESCAPED_KEY.search(data) is not None


@cache
def _inexact(fields: tuple[Field, ...]) -> re.Pattern[bytes]:
    keys = "|".join(field.key for field in fields if field.is_whole)
    exact = r"-?[0-9]+\s*[,}]|-?[0-9]{1,15}\.0+\s*[,}]"
    return re.compile(rf'"(?:{keys})"\s*:\s*(?!{exact})[-0-9]'.encode())


def rows_of_no_integers(parsed: pl.DataFrame, rules: Rules) -> list[int]:
    """Return the rows where text was parsed for a whole number that is neither that nor empty."""
    keys = [field.key for field in rules.fields if field.is_whole]
    texts = [key for key in keys if parsed.schema[key] == pl.String]
    if not texts:
        return []
    whole = (
        whole_number(key).is_not_null() | (pl.col(key) == "").fill_null(value=True) for key in texts
    )
    wrong = pl.all_horizontal(*whole).not_() & ~rules.is_filtered
    return parsed.select(wrong.arg_true()).to_series().to_list()


def doubtful_rows(parsed: pl.DataFrame, rules: Rules) -> list[int]:
    """Return the rows whose text may not have been text in the file."""
    rows: set[int] = set()
    for key in rules.texts:
        text = pl.col(key)
        # Most text begins with a capital or a quotation mark, and comparing is cheap.
        harmless = (text < "-") | ((text >= "A") & (text < "["))
        others = parsed.select(harmless.not_().arg_true()).to_series()
        rows.update(others.filter(parsed[key].gather(others).str.contains(_DOUBTFUL)))
    return sorted(rows)
