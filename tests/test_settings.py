"""Settings: validated once, all violations at once."""

from pathlib import Path

import pytest
from trees import Tree

from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import Settings, schemas
from sparkify_bulk.source.input import input_folders

HERE = Path()


@pytest.mark.parametrize(
    "schema",
    ["", "Upper", "1st", "a-b", 'a"b', "a b", "a;b", "ä", "a\0b", "a\n", "x" * 64, "pg_x",
     "information_schema", "public", "a_staging", "a_build", "a_ledger", "_staging"],
)  # fmt: skip
def test_a_schema_that_needs_quotes_is_refused(schema: str) -> None:
    """Only plain lower-case names that aren't PostgreSQL's own are taken."""
    with pytest.raises(UsageError, match="--schema"):
        Settings(HERE, HERE, schema=schema)
    with pytest.raises(UsageError, match="--schema"):
        schemas(schema)


def test_all_violations_are_reported_together() -> None:
    """One error names everything that is wrong."""
    with pytest.raises(UsageError) as caught:
        Settings(None, None, schema="A", jobs=0, max_rejects=-1)
    for word in ("--schema", "--jobs", "--max-rejects"):
        assert word in caught.value.message
    assert caught.value.exit_code == 2


def test_the_connection_string_is_never_shown() -> None:
    """What is printed of settings holds no password."""
    assert "hush" not in repr(Settings(HERE, HERE, dsn="password=hush"))


def test_a_name_too_long_for_what_stands_beside_the_star_is_refused() -> None:
    """PostgreSQL would cut the longer names and mix two stars up: they are refused."""
    with pytest.raises(UsageError, match="too long"):
        schemas("x" * 60)
    assert schemas("s").staging == "s_staging"


def test_data_names_both_folders(tree: Tree) -> None:
    """DATA stands for its two folders, each of which can be named apart."""
    assert input_folders(tree.root, None, None) == (str(tree.song_folder), str(tree.log_folder))
    assert input_folders(tree.root, HERE, None) == (".", str(tree.log_folder))
    assert input_folders(None, None, HERE) == (None, ".")


def test_data_without_its_folders_is_a_mistake(tree: Tree) -> None:
    """A folder that lacks them is refused, naming what is missing."""
    with pytest.raises(UsageError, match="song_data/ and no log_data/"):
        input_folders(tree.log_folder, None, None)
