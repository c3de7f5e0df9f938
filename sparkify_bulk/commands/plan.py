"""The command that says what a load would read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.options import (
    DATA,
    JSON,
    REHASH,
    TARGET,
    options,
)
from sparkify_bulk.redaction import printable

if TYPE_CHECKING:
    from sparkify_bulk.loading.estimate import Estimate
from sparkify_bulk.commands.inputs import settings_of

_MOST_VANISHED = 20


@click.command(short_help="Say what a load would read.")
@options(*DATA, *TARGET, REHASH, JSON)
def plan(*, as_json: bool, **options: Any) -> None:
    """Show what a load would read: new, changed, unchanged and vanished files. Writes nothing.

    Vanished files are listed by name: they are on record, but gone.

    Example: sparkify-bulk plan data
    """
    from sparkify_bulk import pipeline
    from sparkify_bulk.commands import tables
    from sparkify_bulk.source.manifest import describe_left_out

    columns = ("files", "new", "changed", "same", "vanished", "bytes")
    manifests, estimate = pipeline.plan(settings_of(jobs=None, **options))
    rows = {
        kind: (m.files, m.new, m.changed, m.same, len(m.vanished), m.size)
        for kind, m in manifests.items()
    }
    if as_json:
        kinds = {
            kind: dict(zip(columns, row, strict=True))
            | {
                "left_out": manifests[kind].left_out.counts,
                "vanished_files": manifests[kind].vanished,
            }
            for kind, row in rows.items()
        }
        streams.write_line(kinds | {"estimated_seconds": estimate and round(estimate.seconds, 1)})
    else:
        listed = [(kind, *row) for kind, row in rows.items()]
        out = tables.console()
        out.print(tables.listing(("to read", *columns), listed))
        left_out = describe_left_out((m.root, m.left_out) for m in manifests.values())
        gone = [name for manifest in manifests.values() for name in manifest.vanished]
        said = [f"Left out: {left_out}"] if left_out else []
        for line in (*said, *_describe_vanished(gone), _describe_estimate(estimate)):
            out.print(printable(line), markup=False)


def _describe_vanished(files: list[str]) -> Iterator[str]:
    """Yield lines that name the files that are on record, but gone."""
    if files:
        yield "Gone since they were loaded; their rows are kept until the next reload:"
        yield from (f"  {name}" for name in files[:_MOST_VANISHED])
    if len(files) > _MOST_VANISHED:
        yield f"  and {len(files) - _MOST_VANISHED:,} more; --json lists all"


def _describe_estimate(estimate: "Estimate | None") -> str:
    if estimate is None:
        return (
            "No estimate of the time: there is too little history. It takes three runs or more, "
            "of different sizes."
        )
    return (
        f"This takes about {estimate.seconds:.1f} s, going by the last {estimate.runs} runs: "
        f"{estimate.fixed:.1f} s for any run, the rest for what it reads."
    )
