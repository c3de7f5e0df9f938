"""Write the generated parts of the documentation anew, or check that they are up to date.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; a picture is a whole file.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from sparkify_bulk import cli, statements
from sparkify_bulk.commands.options import variables
from sparkify_bulk.doctor import checks as doctor
from sparkify_bulk.reporting import diagram, metrics, picture
from sparkify_bulk.settings import DEFAULT_SCHEMA
from sparkify_bulk.tables import STAR

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEFAULT_SAID = re.compile(r"\[default: (.+)\]$")
PART = re.compile(r"(<!-- begin (?P<name>[\w -]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)


def commands() -> str:
    """Return the help of every command."""
    parts = []
    for path, command in _walk(cli.cli, "sparkify-bulk"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        parts.append(f"## `{path}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _walk(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += _walk(child, f"{path} {name}")
    return found


def settings() -> str:
    """Return every option that has an environment variable, and what takes it."""
    takers: dict[tuple[str, str, str], list[str]] = {}
    for path, command in _walk(cli.cli, "sparkify-bulk"):
        for parameter in command.params:
            if variables(parameter):
                name = path.removeprefix("sparkify-bulk ")
                takers.setdefault(_setting(parameter), []).append(f"`{name}`")
    lines = ["| option | environment variable | default | taken by |", "|---|---|---|---|"]
    lines += [
        f"| {option} | {variables} | {default} | {', '.join(names)} |"
        for (option, variables, default), names in takers.items()
    ]
    return "\n".join(lines) + "\n"


def _setting(parameter: click.Parameter) -> tuple[str, str, str]:
    """Return how an option or argument is written, its environment variables and its default."""
    context = click.Context(cli.cli)
    said = DEFAULT_SAID.search(getattr(parameter, "help", None) or "")
    default = parameter.get_default(context, call=False)
    shown = said[1] if said else ""
    if not said and isinstance(default, str | int | Path) and default is not False:
        shown = f"`{default}`"
    metavar = "" if getattr(parameter, "is_flag", False) else parameter.make_metavar(context)
    value = f" {metavar}".rstrip().replace("|", "\\|")
    if isinstance(parameter, click.Argument):
        names = [f"`{(parameter.metavar or '').strip('[]')}`"]
    else:
        names = [f"`{option}{value}`" for option in parameter.opts]
    return ", ".join(names), ", ".join(f"`{name}`" for name in variables(parameter)), shown


def tables() -> str:
    """Return the columns of every table of the star."""
    parts = []
    for table in STAR:
        lines = [
            f"### `{table.name}`: {table.comment}",
            "",
            "| column | type | holds |",
            "|---|---|---|",
        ]
        lines += [
            f"| `{c.name}` | {c.type} | {c.comment}{'; may be NULL' if c.nullable else ''} |"
            for c in table.all_columns
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def questions() -> str:
    """Return the questions that the star answers."""
    lines = ["| question | asks |", "|---|---|"]
    for name in statements.names("analysis"):
        title = statements.read(name).splitlines()[0].removeprefix("-- ")
        lines.append(f"| `{name.removeprefix('analysis/')}` | {title} |")
    return "\n".join(lines) + "\n"


def checks() -> str:
    """Return what the doctor looks at."""
    lines = ["| check | what it checks |", "|---|---|"]
    for check in doctor.CHECKS:
        title = (check.__doc__ or "").splitlines()[0].removesuffix(".")
        lines.append(f"| `{check.__name__.replace('_', ' ')}` | {title} |")
    return "\n".join(lines) + "\n"


def roles() -> str:
    """Return the statements that make the roles."""
    return f"```sql\n{diagram.roles(DEFAULT_SCHEMA)}```\n"


def metric_table() -> str:
    """Return every metric of a run."""
    lines = ["| metric | labels | holds |", "|---|---|---|"]
    for metric in metrics.DECLARED:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lasts = "; a failed run leaves it" if metric.lasts else ""
        lines.append(f"| `{metric.name}` | {labels} | {metric.help}{lasts} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "checks": checks,
    "commands": commands,
    "metrics": metric_table,
    "questions": questions,
    "roles": roles,
    "settings": settings,
    "tables": tables,
}


PICTURES: dict[str, Callable[[], str]] = {"star.svg": picture.svg}


def renew(text: str) -> str:
    """Return a page with its generated parts written anew."""
    return PART.sub(lambda m: f"{m[1]}{PARTS[m['name']]()}{m[3]}", text)


def renewed() -> dict[Path, str]:
    """Return the text of every page and picture as it should be."""
    pages = {page: renew(page.read_text()) for page in PAGES}
    return pages | {IMAGES / name: draw() for name, draw in PICTURES.items()}


def main() -> int:
    """Write all pages and pictures, or with `--check` only say which are out of date."""
    check = "--check" in sys.argv[1:]
    stale = {
        path: text
        for path, text in renewed().items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: run make docs")
        else:
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
