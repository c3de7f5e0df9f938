"""The pictures of commands: each shows a run that went well."""

import contextlib
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, lack

PICTURE = ROOT / "docs" / "images" / "terminal.svg"


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    """Import the script that makes the pictures, which is no package."""
    if not shutil.which("tmux"):
        lack("tmux is not installed")
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def environment(pictures: ModuleType) -> Iterator[dict[str, str]]:
    """Yield the environment in which pictures are made."""
    with pictures.warehouse() as environment:
        yield environment


def read(drawn: str) -> str:
    """Return the text that a drawn terminal shows."""
    texts = re.findall(r"<text[^>]*>(.*?)</text>", drawn, re.DOTALL)
    return unescape("".join(texts)).replace("\xa0", " ")


def check(drawn: str) -> None:
    """See that a terminal shows a reload of the sample that went well."""
    text = read(drawn)
    assert "$ sparkify-bulk reload data" in text
    assert "done:" in text
    assert "2,110" in text
    for word in ("Error", "Hint", "WARNING", "Traceback"):
        assert word not in text


def test_the_first_picture_shows_a_run_that_went_well() -> None:
    """As it is committed: the result is in it, and no error or warning."""
    check(PICTURE.read_text())


def test_the_picture_made_anew_shows_the_same(
    pictures: ModuleType, environment: dict[str, str]
) -> None:
    """What the command prints today may be shown as it is."""
    check(pictures.terminal("sparkify-bulk reload data", environment))


def test_a_command_that_fails_makes_no_picture(
    pictures: ModuleType,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The script fails with what the command said, and writes nothing."""
    lost = environment | {"PGSERVICEFILE": "/nowhere"}
    monkeypatch.setattr(pictures, "warehouse", lambda: contextlib.nullcontext(lost))
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(tmp_path)])
    with pytest.raises(pictures.CommandFailedError, match="exit code 4") as caught:
        pictures.main()
    assert "/nowhere" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
