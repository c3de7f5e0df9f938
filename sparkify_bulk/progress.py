"""Show how a run goes on: bars on a terminal, quiet log lines elsewhere."""

import logging
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sparkify_bulk.report import Phase, readable_size, thousands

logger = logging.getLogger("sparkify_bulk")


def costs(phase: Phase) -> str:
    """Say what a phase or step took: wall time, and processor time on both sides."""
    server = phase.server_cpu_seconds
    there = "" if server is None else f", server CPU {server:.2f} s"
    return (
        f"{phase.name}: from {phase.began:.2f} s on, {phase.seconds:.2f} s, "
        f"client CPU {phase.client_cpu_seconds:.2f} s{there}"
    )


class LogWatch:
    """Write a log line a phase."""

    def begin(self, phase: str) -> None:
        """Write what begins, where somebody wants to know."""
        logger.debug("%s: begins", phase)

    def expect(self, *, files: int, bytes_: int) -> None:
        """Write how much there is to read, where somebody wants to know."""
        logger.debug("%d files listed, %s", files, readable_size(bytes_))

    def advance(self, *, files: int, bytes_: int, records: int) -> None:
        """Write how far a phase got, where somebody wants to know."""
        logger.debug("%d files, %s, %d records", files, readable_size(bytes_), records)

    def end(self, phase: Phase) -> None:
        """Write how long the phase took."""
        size = readable_size(phase.bytes)
        handled = f", {phase.records:,} records, {size}" if phase.records else ""
        fields = {"phase": phase.name, "seconds": phase.seconds}
        if phase.records:
            fields |= {"records": phase.records, "bytes": phase.bytes}
        logger.info("%s: %.2f s%s", phase.name, phase.seconds, handled, extra={"fields": fields})
        for part in (phase, *phase.steps):
            logger.debug("%s", costs(part))


class _Handled(ProgressColumn):
    """Files, bytes and records a second of a phase that reads files."""

    def render(self, task: Task) -> Text:
        files, total = task.fields["files"], task.fields["all_files"]
        if not files:
            return Text("")
        some = f"{files:,}/{total:,}" if total and files < total else f"{files:,}"
        done = readable_size(int(task.completed))
        rate = task.fields["rate"]
        pace = f" {thousands(rate)} rec/s" if rate else ""
        return Text(f"{some} files {done}{pace}", style="dim")


class TerminalWatch:
    """Draw a bar a phase on standard error."""

    def __init__(self, console: Console) -> None:
        """Draw on this console."""
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<17}"),
            BarColumn(bar_width=8),
            _Handled(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End drawing; what was drawn stays."""
        if self._task is not None and error is not None:
            self._progress.stop_task(self._task)
        self._progress.stop()

    def begin(self, phase: str) -> None:
        """Draw the bar of a phase."""
        self._task = self._progress.add_task(
            phase, total=None, files=0, all_files=None, records=0, rate=None
        )

    def expect(self, *, files: int, bytes_: int) -> None:
        """Give the bar its length."""
        if self._task is not None:
            self._progress.update(self._task, total=bytes_ or None, all_files=files)

    def advance(self, *, files: int, bytes_: int, records: int) -> None:
        """Move the bar on."""
        if self._task is None:
            return
        task = self._progress.tasks[self._task]
        records += task.fields["records"]
        # Batches may have been done before the phase came to be watched: no pace from a moment.
        elapsed = task.elapsed or 0.0
        self._progress.update(
            self._task,
            advance=bytes_,
            files=task.fields["files"] + files,
            records=records,
            rate=records / elapsed if elapsed > 1 else None,
        )

    def end(self, phase: Phase) -> None:
        """Complete the bar, with the pace of the phase's own work."""
        if self._task is None:
            return
        total = self._progress.tasks[self._task].total or 1
        rate = phase.records / max(phase.seconds, 0.001)
        self._progress.update(self._task, total=total, completed=total, rate=rate)
        self._task = None
