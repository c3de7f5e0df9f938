"""Serve a folder as a bucket of S3, as cheaply as one process can, for benchmarks.

    python benchmarks/object_server.py FOLDER --port 9000 --keys 1000000

It answers listings and reads by range, and checks no signature. Below the prefix `many` it lists
`--keys` keys in 26 folders, which have no objects.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 1000
FOLDERS = 26
MODIFIED = "2026-01-01T00:00:00.000Z"
END_OF_HEAD = b"\r\n\r\n"


class Objects:
    """The keys and bytes of a bucket."""

    def __init__(self, folder: Path, keys: int) -> None:
        """List the folder."""
        self.folder = folder
        files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        self.keys: Sequence[str] = sorted(map(str, files))
        each = -(-keys // FOLDERS)
        self.many = [
            f"many/{chr(ord('A') + number // each)}/TR{number:012}.json" for number in range(keys)
        ]

    def list(self, query: dict[str, list[str]]) -> bytes:
        """Return a page of a listing."""
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        keys = self.many if prefix.startswith("many") else self.keys
        first = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, after))
        page = [key for key in keys[first : first + PAGE] if key.startswith(prefix)]
        more = len(page) == PAGE
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{MODIFIED}</LastModified>"
            f'<ETag>"{tag(key)}"</ETag><Size>{self.size(key)}</Size></Contents>'
            for key in page
        )
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}"
            f"</ListBucketResult>"
        ).encode()

    def size(self, key: str) -> int:
        """Return the size of an object."""
        return 300 if key.startswith("many/") else (self.folder / key).stat().st_size


def tag(key: str) -> str:
    """Return the ETag of a key."""
    return md5(key.encode(), usedforsecurity=False).hexdigest()


class Connection(asyncio.Protocol):
    """A connection of a client."""

    def __init__(self, objects: Objects) -> None:
        """Begin with nothing received."""
        self.objects = objects
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.received += data
        while END_OF_HEAD in self.received:
            head, _, self.received = self.received.partition(END_OF_HEAD)
            first, *headers = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            fields = dict(line.lower().split(": ", 1) for line in headers)
            self.transport.write(self.answer(method, target, fields))

    def answer(self, method: str, target: str, fields: dict[str, str]) -> bytes:
        """Return the answer to a request."""
        parts = urlsplit(target)
        if parts.query:
            body = self.objects.list(parse_qs(parts.query))
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        key = unquote(parts.path).split("/", 2)[2]
        path = self.objects.folder / key
        size = path.stat().st_size
        first, last = 0, size - 1
        if "range" in fields:
            low, high = fields["range"].removeprefix("bytes=").split("-")
            first, last = int(low), min(int(high), size - 1)
        with path.open("rb") as file:
            file.seek(first)
            body = b"" if method == "HEAD" else file.read(last - first + 1)
        status = "206 Partial Content" if "range" in fields else "200 OK"
        head = (
            f"HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\n"
            f'Content-Range: bytes {first}-{last}/{size}\r\nETag: "{tag(key)}"\r\n'
            "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
        )
        return head.encode() + body


async def serve(objects: Objects, port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(objects), "127.0.0.1", port, backlog=512)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line, and serve."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--port", type=int, default=9000)
    arguments.add_argument("--keys", type=int, default=0)
    given = arguments.parse_args()
    asyncio.run(serve(Objects(given.folder, given.keys), given.port))


if __name__ == "__main__":
    main()
