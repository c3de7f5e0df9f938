"""Show how a run goes on: bars on a terminal, quiet log lines elsewhere."""

import logging
from collections.abc import Callable, Iterable
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
from rich.table import Column, Table
from rich.text import Text

from sparkify_bulk.report import Phase
from sparkify_bulk.units import readable_size, thousands

logger = logging.getLogger("sparkify_bulk")

# Columns of a terminal below which bars and sizes are left out.
_ROOM_FOR_ALL = 76


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

    def note(self, text: str) -> None:
        """Write what takes long."""
        logger.info("%s", text)

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


class _Field(ProgressColumn):
    """What a phase handled so far, in figures; blank where it reads no files."""

    def __init__(self, heading: str, show: Callable[[Task], str]) -> None:
        """Show this of a task below a heading."""
        super().__init__(Column(heading, justify="right", no_wrap=True))
        self._show = show

    def render(self, task: Task) -> Text:
        """Return what is shown of a task."""
        return Text(self._show(task) if task.fields["files"] else "")


def _files(task: Task) -> str:
    files, total = task.fields["files"], task.fields["all_files"]
    return f"{files:,}/{total:,}" if total and files < total else f"{files:,}"


def _pace(task: Task) -> str:
    rate = task.fields["rate"]
    return thousands(rate) if rate else ""


class _Labelled(Progress):
    """Bars in a table whose columns have headings."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the table of all bars."""
        table = super().make_tasks_table(tasks)
        table.show_header = True
        table.header_style = "dim"
        return table


class TerminalWatch:
    """Draw a bar a phase on standard error."""

    def __init__(self, console: Console) -> None:
        """Draw on this console."""
        wide = console.width >= _ROOM_FOR_ALL
        self._progress = _Labelled(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", table_column=Column("phase", no_wrap=True)),
            *([BarColumn(bar_width=8)] if wide else []),
            _Field("files", _files),
            *([_Field("size", lambda task: readable_size(int(task.completed)))] if wide else []),
            _Field("records/s", _pace),
            TimeRemainingColumn(
                compact=True,
                elapsed_when_finished=True,
                table_column=Column("left/took", justify="right", no_wrap=True),
            ),
            console=console,
        )
        self._task: TaskID | None = None
        self._starting: TaskID | None = None
        self._phase = ""

    def __enter__(self) -> Self:
        """Begin to draw, at once: what runs need takes a while to import."""
        self._starting = self._add("starting")
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
        self._phase = phase
        if self._starting is None:
            self._task = self._add(phase)
        else:
            self._progress.reset(self._starting, description=phase)
            self._task, self._starting = self._starting, None

    def note(self, text: str) -> None:
        """Draw what takes long in place of the phase's name, until the phase ends."""
        if self._task is not None:
            self._progress.update(self._task, description=text)

    def _add(self, name: str) -> TaskID:
        return self._progress.add_task(
            name, total=None, files=0, all_files=None, records=0, rate=None
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
        self._progress.update(
            self._task, description=self._phase, total=total, completed=total, rate=rate
        )
        self._task = None
