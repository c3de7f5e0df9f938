"""The command that prints the star's DDL, or draws it."""

from pathlib import Path

import click

from sparkify_bulk.commands.options import (
    FOLDER,
    SCHEMA,
    option,
)
from sparkify_bulk.commands.streams import write
from sparkify_bulk.errors import UsageError
from sparkify_bulk.settings import check_schema


@click.command()
@SCHEMA
@option("--mermaid", is_flag=True, help="Print an entity-relationship diagram instead.")
@option("--roles", is_flag=True, help="Print what makes a loading and a reading role instead.")
@option("--svg", metavar="FILE", type=FOLDER, help="Draw the diagram into a file instead.")
def schema(schema: str, *, mermaid: bool, roles: bool, svg: Path | None) -> None:
    """Print the star's DDL.

    Example: sparkify-bulk schema --roles | psql --dbname music
    """
    from sparkify_bulk.reporting import diagram

    check_schema(schema)
    kinds = {"--mermaid": mermaid, "--roles": roles, "--svg": svg}
    asked = [name for name, given in kinds.items() if given]
    if len(asked) > 1:
        raise UsageError(
            f"{' and '.join(asked[:2])} are mutually exclusive", hint="name one of them"
        )
    if svg:
        _draw(svg)
        return
    what = diagram.mermaid() if mermaid else (diagram.roles if roles else diagram.ddl)(schema)
    click.echo(what, nl=False)


def _draw(file: Path) -> None:
    """Draw the star into a file, or onto stdout where that is named -."""
    from sparkify_bulk.reporting import picture

    drawn = picture.svg().encode()
    if str(file) == "-":
        write(drawn)
        return
    try:
        file.write_bytes(drawn)
        click.echo(f"Written: {file}")
    except OSError as error:
        raise UsageError(
            f"{file} can't be written: {error.strerror}", hint="name another file by --svg"
        ) from error
