"""The benchmarks of one quality run, and write what they say they do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("script", "options", "sizes"),
    [
        ("growth.py", ["--sizes=200,400"], {"events": [200, 200, 400, 400], "jobs": [1, 2, 1, 2]}),
        (
            "increment.py",
            ["--sizes=200,400", "--songs=20", "--day=50"],
            {"events_before": [200, 400]},
        ),
        ("small_files.py", ["--files=50", "--events=3000"], {"files": [50, 30, 3000]}),
        ("damaged.py", ["--sizes=1", "--log=1"], {"megabytes": [1] * 16}),
        (
            "buckets.py",
            ["--songs=50", "--events=3000", "--keys=2100"],
            {"files": [50, 50, 30, 30, 2100]},
        ),
    ],
)  # fmt: skip
def test_script(
    dsn: str, tmp_path: Path, script: str, options: list[str], sizes: dict[str, list[int]]
) -> None:
    """A script measures each size, and writes JSON."""
    output = tmp_path / "out.json"
    where = [] if script in ("small_files.py", "damaged.py", "buckets.py") else [f"--dsn={dsn}"]
    subprocess.run(  # noqa: S603 - our own
        [sys.executable, HERE / script, *where, *options, "--rounds=1", f"--output={output}"],
        check=True,
    )
    results = json.loads(output.read_text())["results"]
    for name, expected in sizes.items():
        assert [row[name] for row in results] == expected
    assert all(row.get("seconds", row.get("cpu_seconds")) >= 0 for row in results)
    if script == "small_files.py":
        assert results[1]["accepted"] == results[2]["accepted"] > 0
