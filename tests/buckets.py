"""A bucket to test with: a service of S3's kind in a process of its own, and what stands before it.

What stands before it counts requests, and answers wrongly or not at all where it is told so.
"""

import base64
import email.utils
import hmac
import http.client
import http.server
import itertools
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import AzureStore, S3Store
from servers import free_port
from waiting import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from collections import deque

    from obstore.store import ObjectStore

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDGIVEN7KEY", "AWS_SECRET_ACCESS_KEY": "s3cr8t/Given+key"}
_SERVICE = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app),
           threaded=True)
"""
Fault = int | str | tuple[int, str]
_OWN_HEADERS = ("transfer-encoding", "connection", "server", "date")
_numbers = itertools.count(1)


class Service:
    """A service that keeps buckets, and the one who stands before it.

    Attributes:
        requests: method, path with query, and headers, of every request since they were cleared.
        faults: what to do instead of answering, once each, by what the request's path ends in:
            a status, with a code of S3 or without, or `cut`, `reset`, `stall`, `denied`.
        between: called with a path before it is answered.
        closing: set when it ends.
        port: of the service itself.
    """

    def __init__(self, port: int) -> None:
        """Stand before what listens at a port."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: dict[str, deque[Fault]] = {}
        self.between: Any = None
        self.closing = threading.Event()
        self.port = port
        outer = self

        class Handler(_Handler):
            service = outer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def forward(self, method: str, path: str, headers: Any, body: bytes) -> Any:
        """Ask who stands behind; return its answer, and the answer's bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def fault(self, path: str) -> Fault | None:
        """Return what to do instead of answering, if anything."""
        for end, faults in self.faults.items():
            if path.partition("?")[0].endswith(end) and faults:
                return faults.popleft()
        return None

    def objects(self) -> list[str]:
        """Return the paths of all objects that were read, in order."""
        return [path for method, path, _ in self.requests if method == "GET" and "?" not in path]


class _Handler(http.server.BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.service.requests.append((self.command, self.path, dict(self.headers)))
        fault = self.service.fault(self.path)
        if self.service.between:
            self.service.between(self.path)
        if fault == "denied":
            fault = 403, "AccessDenied"
        if not isinstance(fault, str | None):
            self._refuse(*(fault if isinstance(fault, tuple) else (fault, "")))
            return
        if fault == "reset":
            self._reset()
            return
        answer, data = self.service.forward(self.command, self.path, self.headers, body)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self._send(data, fault)

    def _send(self, data: bytes, fault: Fault | None) -> None:
        whole = len(data) if fault is None else len(data) // 2
        self.wfile.write(data[:whole])
        self.wfile.flush()
        if fault == "stall":
            self.service.closing.wait(PATIENCE_SECONDS)
        self.close_connection = fault is not None

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running_service() -> Iterator[Service]:
    """Run a service of S3's kind, in a process of its own."""
    port = free_port()
    with _listening(port, [sys.executable, "-c", _SERVICE, str(port)]):
        service = Service(port)
        try:
            yield service
        finally:
            service.close()


@contextmanager
def _listening(port: int, command: list[str], **environment: str) -> Iterator[None]:
    """Run a program that listens at a port of this machine."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    ) as process:
        try:
            wait_until(lambda: _answers(port), f"{command[0]} doesn't start")
            yield
        finally:
            process.kill()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Filled:
    """A bucket, or what Azure calls a container, to be filled.

    Attributes:
        url: its address.
        environment: the variables that lead to it.
    """

    url: str
    environment: dict[str, str]
    store: "ObjectStore"

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        obstore.put(self.store, key, data)

    def delete(self, key: str) -> None:
        """Delete an object."""
        obstore.delete(self.store, key)

    def fill(self, folder: Path, prefix: str = "") -> None:
        """Write all files below a folder."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        with ThreadPoolExecutor(8) as pool:
            keys = [f"{prefix}{path.relative_to(folder)}" for path in files]
            list(pool.map(lambda key, path: self.put(key, path.read_bytes()), keys, files))


class Bucket(Filled):
    """A bucket of a service."""

    def __init__(self, service: Service) -> None:
        """Make it, empty."""
        self.service = service
        self.name = f"bucket-{next(_numbers)}"
        self.url = f"s3://{self.name}"
        self.environment = {
            **KEYS,
            "AWS_ENDPOINT_URL": service.url,
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }
        self.store = S3Store(
            self.name,
            endpoint=f"http://127.0.0.1:{service.port}",
            access_key_id="a",
            secret_access_key="b",  # noqa: S106
            client_options={"allow_http": True},
        )
        status, _ = service.forward("PUT", f"/{self.name}", {}, b"")
        assert status.status == 200


class Container(Filled):
    """A container of Azure's emulator."""

    def __init__(self, port: int, account: str, key: str) -> None:
        """Make it, empty."""
        self.name = f"container-{next(_numbers)}"
        self.url = f"az://{self.name}"
        endpoint = f"http://127.0.0.1:{port}/{account}"
        self.environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": account,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_STORAGE_ENDPOINT": endpoint,
            "NO_PROXY": "127.0.0.1",
        }
        self.store = AzureStore(
            self.name,
            account_name=account,
            account_key=key,
            endpoint=endpoint,
            client_options={"allow_http": True},
        )
        # obstore makes none, so this one request is signed here.
        moment = email.utils.formatdate(usegmt=True)
        signed = (
            "PUT" + "\n" * 12 + f"x-ms-date:{moment}\nx-ms-version:2023-11-03\n"
            f"/{account}/{account}/{self.name}\nrestype:container"
        )
        digest = hmac.digest(base64.b64decode(key), signed.encode(), "sha256")
        headers = {
            "x-ms-date": moment,
            "x-ms-version": "2023-11-03",
            "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}",
            "Content-Length": "0",
        }
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        connection.request("PUT", f"/{account}/{self.name}?restype=container", headers=headers)
        assert connection.getresponse().status == 201
        connection.close()


@contextmanager
def running_azurite(program: str) -> Iterator[Callable[[], Container]]:
    """Run Azure's emulator; yield what makes containers in it."""
    port, account = free_port(), "account"
    key = base64.b64encode(os.urandom(64)).decode()
    words = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *words]
    with _listening(port, command, AZURITE_ACCOUNTS=f"{account}:{key}"):
        yield lambda: Container(port, account, key)
