"""The page: one HTML file about a run and the star it left, for people to read."""

import contextlib
import os
import secrets
from pathlib import Path

from sparkify_bulk import __version__
from sparkify_bulk.database.connection import Connection
from sparkify_bulk.errors import UsageError
from sparkify_bulk.reporting import facts
from sparkify_bulk.reporting.facts import Facts
from sparkify_bulk.reporting.parts import cell, words
from sparkify_bulk.reporting.run_part import (
    about,
    history,
    key_figures,
    rejects_by_reason,
    run_charts,
    tables_table,
)
from sparkify_bulk.reporting.star_part import quality, rankings, star_charts
from sparkify_bulk.reporting.verdict import verdict
from sparkify_bulk.settings import schemas

_FOLDER = Path(__file__).parent / "templates"


def write(connection: Connection, schema: str, output: Path, run_id: int | None = None) -> None:
    """Write the page about a run, and about the star as it is now.

    Args:
        connection: in autocommit mode.
        schema: where the star lives.
        output: the file; one that exists is replaced, at once and whole.
        run_id: the run's number; None for the last load or reload that ended.

    Raises:
        UsageError: there is no such run, or the file can't be written.
    """
    check_output(output)
    found = facts.read(connection, schemas(schema), run_id)
    _replace(output, render(found).encode())


def check_output(output: Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises:
        UsageError: says why.
    """
    folder = output.parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="make it, or name another")
    if output.exists() and not output.is_file():
        raise UsageError(f"{output} is not a file", hint="name one; it need not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"no right to write into {folder}", hint="name another folder")


def _replace(output: Path, document: bytes) -> None:
    """Put a file in another's place: who opens it sees the old or the new one, whole."""
    new = output.with_name(f".{output.name[:200]}.{secrets.token_hex(4)}")
    try:
        with new.open("xb") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        new.replace(output)
    except OSError as error:
        raise UsageError(
            f"{output} can't be written: {error.strerror}", hint="name another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def render(found: Facts) -> str:
    """Return the page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - for this only

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        # Titles, places, names of files and errors come from files that anybody may have written.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "words": words}
    report = found.run["report"] or {}
    return environment.get_template("report.html").render(
        facts=found,
        run=found.run,
        verdict=verdict(found),
        key_figures=key_figures(found, report),
        about=about(found, report),
        run_charts=run_charts(report),
        tables=tables_table(report),
        rejects=rejects_by_reason(found.rejects),
        star=found.star if found.star and found.star.days else None,
        star_charts=star_charts(found.star),
        rankings=rankings(found.star),
        quality=quality(found.star),
        history=history(found),
        moment=f"{found.moment:%Y-%m-%d %H:%M}",
        version=__version__,
    )
