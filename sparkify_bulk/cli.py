"""The command line: arguments to settings to a run to its report to an exit code.

Heavy modules are imported where a command needs them, so that `--help` and completion answer at
once.
"""

import contextlib
import errno
import os
import signal
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import click

from sparkify_bulk import __version__
from sparkify_bulk.commands import (
    bench,
    config,
    db,
    doctor,
    load,
    plan,
    prune,
    psql,
    query,
    rejects,
    reload,
    report,
    runs,
    schema,
    show,
    streams,
    verify,
)
from sparkify_bulk.commands.options import FOLDER, option
from sparkify_bulk.errors import SparkifyBulkError, Terminated, exit_code_of
from sparkify_bulk.redaction import redact

_asked: list[int] = []


def main() -> NoReturn:
    """Run the command line, and exit."""
    streams.open_streams()
    sys.excepthook = _show_crash
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    try:
        code = cli.main(prog_name="sparkify-bulk", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort as error:
        code = exit_code_of(error.__cause__ or KeyboardInterrupt())
        streams.say_error("Interrupted; nothing is left half done.", exit_code=code)
    except click.ClickException as error:
        with streams.whoever_listens():
            error.show()
        code = error.exit_code
    except SparkifyBulkError as error:
        code = error.exit_code
        streams.say_error(f"Error: {error.message}", error.hint, exit_code=code)
    except MemoryError:
        code = 1
        hint = "lower --jobs, raise the limit (ulimit -v, a container's), or close other programs"
        streams.say_error("Error: there is not enough memory", hint, exit_code=code)
    except OSError as error:
        if not streams.is_output_lost(error):
            raise
        code = 1
        # Somebody who reads only the first lines has closed it on purpose.
        if error.errno != errno.EPIPE:
            message = f"Error: the output can't be written: {error.strerror}"
            streams.say_error(message, exit_code=code)
    sys.exit(code if isinstance(code, int) else 0)


def _on_signal(number: int, _frame: object) -> NoReturn:
    """End what is under way, and clear up; asked a second time, end at once."""
    if _asked:
        with contextlib.suppress(OSError):
            os.write(2, b"Stopped at once; the next run clears up what is left.\n")
        os._exit(128 + number)
    _asked.append(number)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _show_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a defect, without passwords."""
    streams.say_error(redact("".join(traceback.format_exception(kind, error, trace))).rstrip("\n"))


class _InOrder(click.Group):
    """Lists commands as one comes to need them, not by the alphabet."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)


@click.group(
    cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="sparkify-bulk")
@option(
    "--config",
    "settings_file",
    metavar="FILE",
    type=FOLDER,
    help="Settings file.  [default: sparkify-bulk.toml here, if there is one]",
)
@click.pass_context
def cli(context: click.Context, settings_file: Path | None) -> None:
    """Load trees of JSON into a PostgreSQL star schema, fast and complete, or nothing at all.

    Example: sparkify-bulk reload data && sparkify-bulk show
    """
    config.use_file(context, settings_file)


for command in (
    reload.reload,
    load.load,
    plan.plan,
    verify.verify,
    rejects.rejects,
    runs.runs,
    prune.prune,
    show.show,
    query.query,
    report.report,
    schema.schema,
    doctor.doctor,
    psql.psql,
    db.db,
    bench.bench,
    config.config,
):
    cli.add_command(command)


@cli.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete this command.

    Example: eval "$(sparkify-bulk completion bash)"
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(cli, {}, "sparkify-bulk", "_SPARKIFY_BULK_COMPLETE").source())
