"""Draw the star as a diagram, and print its DDL and its roles."""

import re

from sparkify_bulk import statements
from sparkify_bulk.settings import DEFAULT_SCHEMA
from sparkify_bulk.tables import STAR, Table


def ddl(schema: str) -> str:
    """Return the statements that make an empty star, as one script for psql."""
    names = [f"schema/{table.name}" for table in STAR]
    names += [
        name
        for group in statements.CONSTRAINTS
        for table in STAR
        for name in statements.constraints(group, table.name)
    ]
    name = _quoted(schema)
    head = f"CREATE SCHEMA IF NOT EXISTS {name};\nSET search_path = {name};\n"
    return "\n".join([head, *(statements.read(name) for name in names)])


def roles(schema: str) -> str:
    """Return the statements that make the roles of a star, as one script for psql."""
    script = statements.read("roles/least_rights")
    return re.sub(r"\bsparkify_", f"{schema}_", re.sub(r"\bsparkify\b", _quoted(schema), script))


def _quoted(name: str) -> str:
    """Quote a name that may be a word of SQL; the usual one is easier to read as it is."""
    return name if name == DEFAULT_SCHEMA else f'"{name}"'


def mermaid() -> str:
    """Return the star as a Mermaid entity-relationship diagram, without bookkeeping columns."""
    lines = ["erDiagram"]
    for table in STAR:
        lines += [
            f'    {target} ||--o{{ {table.name} : "{column}"' for column, target in table.references
        ]
    for table in STAR:
        lines.append(f"    {table.name} {{")
        lines += [f"        {line}" for line in _columns(table)]
        lines.append("    }")
    return "\n".join(lines) + "\n"


def _columns(table: Table) -> list[str]:
    references = dict(table.references)
    lines = []
    for column in table.columns:
        kind = column.type.replace("timestamp with time zone", "timestamptz").replace(" ", "_")
        keys = [
            *(["PK"] if column.name == table.primary_key else []),
            *(["FK"] if column.name in references else []),
        ]
        mark = f" {','.join(keys)}" if keys else ""
        lines.append(f'{kind} {column.name}{mark} "{column.comment}"')
    return lines
