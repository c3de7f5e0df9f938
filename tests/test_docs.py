"""What the documentation says is so."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sparkify_bulk import records, transform

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_generated_parts_are_up_to_date() -> None:
    """Commands, diagram, tables and questions stand in the pages as the code has them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository leads to one."""
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_reasons_are_documented() -> None:
    """Every reason code in the source stands in the table of reasons, and no other does."""
    source = "".join(
        Path(spec.origin).read_text()
        for module in (records, transform)
        if (spec := importlib.util.find_spec(module.__name__)) and spec.origin
    )
    used = set(re.findall(r"Rejection\(\s*\"(\w+)\"", source)) | {"unreadable_file"}
    table = (
        (ROOT / "docs" / "rules.md").read_text().split("## Reasons of rejects")[1].split("##")[0]
    )
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == used


def test_every_line_about_security_has_its_test() -> None:
    """Each row of the table names tests, and all of them are there."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    page = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (?!threat|---).*", page, re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert [name for name in named if f"def {name}(" not in tests] == []
