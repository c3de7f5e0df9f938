"""What the documentation says is so."""

import dataclasses
import importlib.util
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sparkify_bulk import errors, report
from sparkify_bulk.extract import decoder, records
from sparkify_bulk.transform import values

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as repository hosts name them."""
    headings = HEADING.findall(page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
    """Every link to a file of this repository leads to one, and to a heading that it has."""
    for name, anchor in LINK.findall(page.read_text()):
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def test_the_index_leads_to_every_page() -> None:
    """Whoever begins at the index of the documentation finds every page, once."""
    index = ROOT / "docs" / "index.md"
    named = [name for name, _ in LINK.findall(index.read_text()) if name.endswith(".md")]
    pages = {str(page.relative_to(index.parent)) for page in index.parent.rglob("*.md")}
    assert sorted(named) == sorted(pages - {"index.md"})


def test_exit_codes_are_documented() -> None:
    """Every code that an error has stands in the table, beside those of runs done and signals."""
    kinds = [errors.SparkifyBulkError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
              for code in row.split(",")}  # fmt: skip
    assert {kind.exit_code for kind in kinds} | {0, 3, 7, 130, 143} == listed


def test_the_report_is_documented() -> None:
    """Every key of the JSON report stands on its page."""
    page = (ROOT / "docs" / "report.md").read_text()
    kinds = (
        report.Report,
        report.InputReport,
        report.TableReport,
        report.Phase,
        report.RejectCounts,
    )
    keys = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    # What only a run has to know isn't in the document.
    keys -= {"published"} - set(report.Report("load", datetime.now(UTC)).to_dict())
    assert [key for key in keys if not re.search(rf"`{key}\b", page)] == []


def test_reasons_are_documented() -> None:
    """Every reason code in the source stands in the table of reasons, and no other does."""
    source = "".join(
        Path(spec.origin).read_text()
        for module in (decoder, records, values)
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
