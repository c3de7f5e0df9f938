"""The command as tests run it: in this process, or installed, in a process of its own.

A process of its own takes the better part of a second to start, and proves more only where
streams, signals, memory or what is imported matter.
"""

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from sparkify_bulk import cli, redaction

COMMAND = str(Path(sys.executable).parent / "sparkify-bulk")
Done = subprocess.CompletedProcess[str]


def run(*arguments: str | Path, folder: Path | None = None, **environment: str) -> Done:
    """Run the command in this process, with its output piped, and leave no trace of it here."""
    words = [COMMAND, *map(str, arguments)]
    with (
        _piped() as (stdout, stderr),
        _process_as_it_is(),
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, environment),
        contextlib.chdir(folder or "."),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown, said = (pipe.buffer.getvalue().decode() for pipe in (stdout, stderr))
    return subprocess.CompletedProcess(words, code, shown, said)


def run_installed(*arguments: str | Path, folder: Path | None = None, **environment: str) -> Done:
    """Run the installed command, with its output piped."""
    return subprocess.run(
        [COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


class _Pipe(io.TextIOWrapper):
    """What is written to it, as bytes."""

    buffer: io.BytesIO

    def __init__(self) -> None:
        """Make it empty."""
        super().__init__(io.BytesIO(), "utf-8", write_through=True)


@contextlib.contextmanager
def _piped() -> Iterator[tuple[_Pipe, _Pipe]]:
    """Let standard output and error be pipes, and nothing be typed."""
    stdout, stderr = _Pipe(), _Pipe()
    with (
        Path(os.devnull).open() as stdin,
        mock.patch.multiple(sys, stdin=stdin, stdout=stdout, stderr=stderr),
    ):
        yield stdout, stderr


@contextlib.contextmanager
def _process_as_it_is() -> Iterator[None]:
    """Put back what a command changes of its process; without pytest's log handlers meanwhile."""
    root, own = logging.getLogger(), logging.getLogger("sparkify_bulk")
    handlers, levels = root.handlers[:], (root.level, own.level)
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        mock.patch.object(sys, "excepthook", sys.excepthook),
        mock.patch.object(redaction, "_secrets", set()),
    ):
        root.handlers[:] = []
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(levels[0])
            own.setLevel(levels[1])
            for number, handler in signals.items():
                signal.signal(number, handler)
