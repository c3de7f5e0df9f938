"""The settings file, and the command that shows what is set where.

A setting comes from a flag, else from an environment variable, else from the settings file, else it
has its default. The file is TOML: keys are named as flags are, without the dashes in front. Those
on top are for every command that has such a flag; those in a table for the command it is named
after.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sparkify_bulk.commands import streams
from sparkify_bulk.commands.load import load
from sparkify_bulk.commands.options import JSON, PREFIX, variables
from sparkify_bulk.commands.reload import reload
from sparkify_bulk.errors import UsageError
from sparkify_bulk.redaction import MASK, redact
from sparkify_bulk.source.bucket_access import REQUESTS, is_cloud_variable, is_secret
from sparkify_bulk.units import show_age

NAME = "sparkify-bulk.toml"
_FILE = "sparkify_bulk.settings_file"
# Variables of this program's that are no option of a command.
_OTHER_VARIABLES = (f"{PREFIX}HOME", f"{PREFIX}CONFIG", REQUESTS)
_CLOUD = "cloud"
_TAKEN = "sparkify_bulk.cloud_variables"


# --- the file -------------------------------------------------------------------------------------


def use_file(context: click.Context, path: Path | None) -> None:
    """Let what stands in the settings file take the place of defaults, in every command.

    Args:
        context: of the group of all commands.
        path: the file; None for the one in the working folder, if there is one.

    Raises:
        UsageError: it can't be read or trusted, or holds what is no setting; all of that is named.
    """
    file = path or _in_working_folder()
    if file is None:
        return
    document = _read(file)
    if wrong := list(_complaints(context, document)):
        raise UsageError(
            f"the settings file {file} is wrong:" + _lines(wrong),
            hint="sparkify-bulk reload --help lists the settings; in the file they have no dashes "
            "in front",
        )
    cloud = document.get(_CLOUD, {}).items()
    taken = {name: _as_variable(value) for name, value in cloud if name not in os.environ}
    os.environ.update(taken)
    context.meta[_TAKEN] = set(taken)
    context.default_map = _defaults(context.command, document, _top(document))
    context.meta[_FILE] = file


def _in_working_folder() -> Path | None:
    """Return the settings file of the working folder, if there is one.

    Raises:
        UsageError: somebody else may have written it; it can name a server, and a command to run.
    """
    path = Path(NAME)
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o002:
        raise UsageError(
            f"the settings file {path.absolute()} belongs to another user, or others can write to "
            "it",
            hint="name it by --config if you trust it",
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"the settings file {path} can't be read: {error.strerror}",
            hint="--config and SPARKIFY_BULK_CONFIG name it",
        ) from None
    except ValueError as error:
        raise UsageError(
            f"the settings file {path} is not valid TOML: {error}",
            hint='a line of it looks like this: dsn = "service=warehouse"',
        ) from None


def _top(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if not isinstance(value, dict)}


def _complaints(context: click.Context, document: Mapping[str, Any]) -> Iterator[str]:
    """Say of everything in a settings file that can't be why it can't."""
    yield from _complaints_of(context, _top(document), _shared(), "")
    commands = {name: inner for name, inner in document.items() if name != _CLOUD}
    yield from _complaints_of_tables(context, context.command, commands, "")
    cloud = document.get(_CLOUD, {})
    yield from _complaints_of_cloud(cloud if isinstance(cloud, dict) else {})


def _complaints_of_cloud(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if not is_cloud_variable(name):
            yield f"[{_CLOUD}] {name} is not a variable of AWS_, GOOGLE_ or AZURE_, nor {REQUESTS}"
        elif is_secret(name):
            yield f"[{_CLOUD}] {name} may hold a secret: set it in the environment"
        elif not isinstance(value, str | int):
            yield f"[{_CLOUD}] {name} can't be {value!r}"


def _as_variable(value: str | int) -> str:
    """Write a value of the file as an environment variable has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _complaints_of_tables(
    context: click.Context, group: click.Command, table: Mapping[str, Any], path: str
) -> Iterator[str]:
    commands = group.commands if isinstance(group, click.Group) else {}
    for name, inner in table.items():
        if not isinstance(inner, dict):
            continue
        where = f"{path}{name}"
        if name not in commands:
            yield f"[{where}] is not a command{_suggestion(name, commands)}"
            continue
        yield from _complaints_of(context, _top(inner), parameters(commands[name]), f"[{where}] ")
        yield from _complaints_of_tables(context, commands[name], inner, f"{where}.")


def _complaints_of(
    context: click.Context,
    values: Mapping[str, Any],
    known: Mapping[str, click.Parameter],
    where: str,
) -> Iterator[str]:
    for key, value in values.items():
        if key not in known:
            yield f"{where}{key} is not a setting{_suggestion(key, known)}"
        elif complaint := _complaint(context, known[key], value):
            yield f"{where}{key}: {complaint}"


def _suggestion(key: str, known: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _complaint(context: click.Context, parameter: click.Parameter, value: object) -> str:
    """Say why a parameter can't have a value; empty if it can."""
    if getattr(parameter, "is_flag", False):
        return "" if isinstance(value, bool) else "must be true or false"
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not (isinstance(value, list) if parameter.multiple else plain):
        return f"can't be {value!r}"
    try:
        parameter.type_cast_value(context, value)
    except click.BadParameter as error:
        return error.message
    return ""


def _defaults(
    command: click.Command, table: Mapping[str, Any], top: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values that stand in for a command's defaults, and for those below it."""
    shared = _shared()
    known = parameters(command)
    own = _top(table)
    found = {
        known[key].name or "": value
        for key, value in {**top, **own}.items()
        # Under the same name a command may have something else: the benchmark's songs, for one.
        if key in known and (key in own or known[key].envvar == shared[key].envvar)
    }
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            inner = table.get(name)
            found[name] = _defaults(child, inner if isinstance(inner, dict) else {}, top)
    return found


def _shared() -> dict[str, click.Parameter]:
    """Return the settings of runs, by name: the ones that may stand on top of the file."""
    return parameters(reload) | parameters(load)


def parameters(command: click.Command) -> dict[str, click.Parameter]:
    """Return what a command can be told, by the name it has in the settings file."""
    return {setting(parameter): parameter for parameter in command.params}


def setting(parameter: click.Parameter) -> str:
    """Return the name of a parameter in the settings file."""
    long = (name for name in parameter.opts if name.startswith("--"))
    return next(long, parameter.name or "").removeprefix("--")


# --- the command ----------------------------------------------------------------------------------


@click.command(short_help="Show each setting, and where it comes from.")
@JSON
@click.pass_context
def config(context: click.Context, /, *, as_json: bool) -> None:
    """Show each setting of a run and where it comes from, and report all invalid settings.

    Flags come first, then environment variables, then the settings file, then defaults. The file is
    sparkify-bulk.toml in the working folder, or the one that --config names.

    Example: sparkify-bulk --config /etc/sparkify-bulk.toml config
    """
    wrong: list[str] = []
    rows = _rows(*(_settings(context, command, wrong) for command in (reload, load)))
    rows += _cloud_rows(context)
    if as_json:
        for row in rows:
            streams.write_line(dict(zip(("setting", "value", "from"), row, strict=True)))
    else:
        from sparkify_bulk.commands import tables

        tables.console().print(tables.listing(("setting", "value", "from"), rows))
    # A setting of both commands is wrong in both.
    wrong = list(dict.fromkeys(wrong)) + _stray_variables(context)
    if wrong:
        raise UsageError(
            "some settings are wrong:" + _lines(wrong),
            hint="sparkify-bulk reload --help lists the settings",
        )


def _lines(wrong: list[str]) -> str:
    return "".join(f"\n  {complaint}" for complaint in wrong)


# Value and origin of each setting of a command.
_Settings = Mapping[str, tuple[str | None, str]]


def _settings(context: click.Context, command: click.Command, wrong: list[str]) -> _Settings:
    """Find out the settings of a command as if it were run here; add what is wrong with them."""
    inner = click.Context(command, info_name=command.name, parent=context.parent)
    found = {}
    for name, parameter in parameters(command).items():
        try:
            value, _ = parameter.handle_parse_result(inner, {}, [])
        except click.BadParameter as error:
            wrong.append(f"{name}: {error.message}")
            value = None
        found[name] = _shown(value), _origin(inner, parameter)
    return found


def _rows(of_reload: _Settings, of_load: _Settings) -> list[tuple[str, str | None, str]]:
    """Return name, value and origin; apart for each command where they differ."""
    rows: dict[tuple[str, str | None, str], None] = {}
    for name in {**of_reload, **of_load}:
        found = {"reload": of_reload.get(name), "load": of_load.get(name)}
        differ = None not in found.values() and of_reload[name] != of_load[name]
        for command, row in found.items():
            if row is not None:
                rows[f"{name} of {command}" if differ else name, *row] = None
    return list(rows)


def _cloud_rows(context: click.Context) -> list[tuple[str, str | None, str]]:
    """Return the variables that say how buckets are reached; of secrets only that they are set."""
    taken = context.meta.get(_TAKEN, set())
    return [
        (
            name,
            MASK if is_secret(name) else redact(value),
            str(context.meta[_FILE]) if name in taken else name,
        )
        for name, value in sorted(os.environ.items())
        if is_cloud_variable(name)
    ]


def _shown(value: object) -> str | None:
    """Return a value as it is shown, without a password; None for one that isn't set."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return show_age(value)
    if isinstance(value, str | int | float | Path):
        return redact(str(value))
    return None


def _origin(context: click.Context, parameter: click.Parameter) -> str:
    """Say where a setting comes from: a variable, the file, or nowhere."""
    source = context.get_parameter_source(parameter.name or "")
    if source is ParameterSource.ENVIRONMENT:
        return next(name for name in variables(parameter) if os.environ.get(name))
    if source is ParameterSource.DEFAULT_MAP:
        return str(context.meta[_FILE])
    if parameter.name == "dsn":
        return _default_server()
    return "default"


def _default_server() -> str:
    from sparkify_bulk.database.connection import LIBPQ_VARIABLES

    named = [name for name in LIBPQ_VARIABLES if os.environ.get(name)]
    return ", ".join(named) if named else "default: the embedded PostgreSQL"


def _stray_variables(context: click.Context) -> list[str]:
    """Say of each environment variable that looks like a setting and is none."""
    known = {*_OTHER_VARIABLES, *_variables(context.find_root().command)}
    found = [name for name in os.environ if name.startswith(PREFIX) and name not in known]
    return [f"{name} is not a setting{_suggestion(name, known)}" for name in sorted(found)]


def _variables(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        yield from variables(parameter)
    if isinstance(command, click.Group):
        for child in command.commands.values():
            yield from _variables(child)
