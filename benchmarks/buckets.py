"""What does it cost to read from a bucket instead of a folder? No database.

    python benchmarks/buckets.py --songs 20000 --events 1000000 --keys 1000000

The same files are read from a folder and from a bucket: song files of one record each, and large
logs. A process beside serves the bucket over loopback: its processor time isn't counted, and there
is no latency of a network. Then keys are listed without reading their objects.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _shared import median, parser, show, succeeded
from small_files import measure_reading

from sparkify_bulk.bench import comparison
from sparkify_bulk.bench.measure import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
_LIST = """
import sys
from sparkify_bulk.source.listing import LeftOut
from sparkify_bulk.source.stores import open_store
print(sum(map(len, open_store(sys.argv[1]).list_files(LeftOut()))))
"""


def main() -> None:
    """Read the command line, measure, print."""
    arguments = parser(__doc__, "bench/buckets.json")
    arguments.add_argument("--songs", type=int, default=20_000, help="files of one song")
    arguments.add_argument("--events", type=int, default=1_000_000, help="in large logs")
    arguments.add_argument("--keys", type=int, default=1_000_000, help="to list")
    arguments.add_argument("--jobs", type=int, default=2, help="workers")
    given = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    sizes = comparison.Sizes(given.events, given.songs, given.seed)
    with comparison.generated(sizes) as data, serving(data, given.keys):
        for kind, folder in (("songs", "song_data"), ("events", "log_data")):
            for store, address in (("folder", f"{data}/{folder}"), ("bucket", f"s3://b/{folder}")):
                rows.append({"store": store} | measure_reading(kind, address, given))
        command = [sys.executable, "-c", _LIST, "s3://b/many"]
        listed = [succeeded(measure(command)) for _ in range(given.rounds)]
        rows.append(
            {"store": "bucket", "kind": "listed"}
            | dict.fromkeys(("accepted", "files_per_second", "megabytes_per_second"), 0)
            | {"files": int(listed[0].said)}
            | median(listed)
        )
    show(rows, given.output, seed=given.seed)


@contextmanager
def serving(folder: Path, keys: int) -> Iterator[None]:
    """Serve a folder as the bucket that the environment leads to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, HERE / "object_server.py", str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own
        [*command, f"--port={port}", f"--keys={keys}"], stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout
            server.stdout.readline()
            os.environ |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "NO_PROXY": "127.0.0.1",
            }
            yield
        finally:
            server.kill()


if __name__ == "__main__":
    main()
