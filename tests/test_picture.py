"""The star as a picture."""

import os
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

from sparkify_bulk.reporting import picture
from sparkify_bulk.tables import STAR

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawn: str) -> list[str]:
    """Return all words in a picture."""
    return ["".join(found.itertext()) for found in ET.fromstring(drawn).iter(f"{SVG}text")]  # noqa: S314 - ours


def test_every_column_is_in_the_picture() -> None:
    """Each table's name, columns, types and keys are there, as text; bookkeeping is not."""
    expected: list[str] = []
    for table in STAR:
        expected += [table.name]
        references = dict(table.references)
        for column in table.columns:
            expected += ["PK"] if column.name == table.primary_key else []
            expected += ["FK"] if column.name in references else []
            expected += [
                column.name,
                column.type.replace("timestamp with time zone", "timestamptz"),
            ]
    assert sorted(texts(picture.svg())) == sorted(expected)


def test_every_reference_is_a_line() -> None:
    """One of four points, from a column that refers to the key it refers to."""
    paths = [found.get("d", "") for found in ET.fromstring(picture.svg()).iter(f"{SVG}path")]  # noqa: S314 - ours
    bent = [path for path in paths if "z" not in path and len(re.findall("[ML]", path)) == 4]
    assert len(bent) == sum(len(table.references) for table in STAR)


def test_the_picture_is_the_same_each_time() -> None:
    """Byte for byte, in another process whose hashes differ; it names no program and no date."""
    command = [
        sys.executable,
        "-c",
        "from sparkify_bulk.reporting import picture; print(picture.svg(), end='')",
    ]
    seeds = [os.environ | {"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    drawn = [
        subprocess.run(command, check=True, capture_output=True, text=True, env=seed).stdout
        for seed in seeds
    ]
    assert drawn == [picture.svg()] * 2
    assert "dc:date" not in drawn[0]
    assert "Matplotlib v" not in drawn[0]
