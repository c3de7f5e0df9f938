"""Make the pictures of commands anew: `make pictures`, or `python docs/pictures.py [FOLDER]`.

Each shows a real run against a PostgreSQL started for it. Where the command fails there is no
picture, and this script fails. Times differ from run to run, so pictures are not compared. Takes
tmux, which plays the terminal, and chromium, which shows the page.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from sparkify_bulk.database import embedded

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
COLUMNS, LINES = 80, 60
# The reader's own fonts: none is fetched.
TEMPLATE = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_USUAL_PORT = 5433
_DEADLINE_SECONDS = 120
# Of each half of the picture of the page, in pixels.
_WIDTH, _HEIGHT = 1000, 1240
_EVENTS, _SONGS = 60_000, 5_000


class CommandFailedError(Exception):
    """A command that was to be shown has failed."""


@contextlib.contextmanager
def warehouse() -> Iterator[dict[str, str]]:
    """Start a PostgreSQL; yield an environment in which `service=warehouse` is its database."""
    folder = Path(tempfile.mkdtemp(prefix="sparkify-"))
    # When root makes the pictures, the server runs as another account, which must get in.
    folder.chmod(0o755)
    try:
        server = embedded.ensure_running(folder / "home", port=_free_port())
        service = folder / "pg_service.conf"
        service.write_text(
            f"[warehouse]\nhost=localhost\nport={server.port}\ndbname={embedded.DATABASE}\n"
            f"user={embedded.USER}\npassfile={server.password_file}\n"
        )
        yield {
            "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]]),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "PGSERVICEFILE": str(service),
            "SPARKIFY_BULK_DSN": "service=warehouse",
        }
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder)


def _free_port() -> int:
    """Return a port that nobody listens at: if it is free, one that looks usual in a picture."""
    with socket.socket() as usual, socket.socket() as any_other:
        if usual.connect_ex(("127.0.0.1", _USUAL_PORT)):
            return _USUAL_PORT
        any_other.bind(("127.0.0.1", 0))
        port: int = any_other.getsockname()[1]
        return port


def screen(command: str, environment: Mapping[str, str], folder: Path = ROOT) -> str:
    """Return what a terminal shows when a command has ended, with its colours as escapes.

    Args:
        command: for the shell.
        environment: all of its variables, but TERM.
        folder: where it runs.

    Raises:
        CommandFailedError: its exit code isn't 0.
        subprocess.TimeoutExpired: it doesn't end.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tmux = ["tmux", "-S", f"{scratch}/socket", "-f", "/dev/null"]
        ended = " ".join([*tmux, "wait-for", "-S", "ended"])
        shell = f"{command}; echo $? > {scratch}/exit_code; {ended}; read -r _"
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        start = [*tmux, "new-session", "-d", *size, "-c", str(folder), shell]
        try:
            subprocess.run(start, check=True, env=environment)
            wait = [*tmux, "wait-for", "ended"]
            subprocess.run(wait, check=True, timeout=_DEADLINE_SECONDS)
            capture = [*tmux, "capture-pane", "-e", "-p"]
            shown = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)
        exit_code = int(Path(scratch, "exit_code").read_text())
    if exit_code:
        raise CommandFailedError(f"{command}: exit code {exit_code}\n{shown.rstrip()}")
    return shown.rstrip()


def terminal(command: str, environment: Mapping[str, str]) -> str:
    """Return a terminal in which a command was run, as SVG.

    Raises:
        CommandFailedError: the command failed.
    """
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {command}\n{screen(command, environment)}"))
    drawn = console.export_svg(title="", code_format=TEMPLATE, unique_id="terminal")
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)


def report(environment: Mapping[str, str]) -> Image.Image:
    """Return the page that `sparkify-bulk report` writes about a night's load.

    Its head is on the left, light; the part about the star on the right, dark.

    Raises:
        CommandFailedError: a command failed.
    """
    with tempfile.TemporaryDirectory(prefix="sparkify-") as folder:
        data, page = Path(folder, "data"), Path(folder, "report.html")
        generate = ["benchmarks/generate.py", data, "--events", _EVENTS, "--songs", _SONGS]
        _run([sys.executable, *generate], environment)
        last = max(data.glob("log_data/**/*.json"))
        night = last.rename(data / "night")
        _run(["sparkify-bulk", "reload", data], environment)
        night.rename(last)
        _run(["sparkify-bulk", "load", data], environment)
        _run(["sparkify-bulk", "report", "--output", page], environment)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            halves = _photograph(browser, page, "light"), _photograph(browser, page, "dark")
            browser.close()
    both = Image.new("RGB", (2 * _WIDTH, _HEIGHT))
    for number, half in enumerate(halves):
        both.paste(half, (number * _WIDTH, 0))
    # A tenth of the size in full colour; by this method the few pixels of red stay red.
    return both.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _run(command: list[object], environment: Mapping[str, str]) -> None:
    words = list(map(str, command))
    done = subprocess.run(
        words, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise CommandFailedError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")


def _photograph(browser: Browser, page: Path, scheme: str) -> Image.Image:
    """Return the page's head where it is light, the part about the star where it is dark."""
    tab = browser.new_page(
        viewport={"width": _WIDTH, "height": _HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    tab.goto(page.as_uri())
    if "All is well" not in tab.inner_text("body"):
        raise CommandFailedError(f"the page says: {tab.inner_text('body')[:200]}")
    if scheme == "dark":
        tab.get_by_role("heading", name="The star").evaluate(
            "node => scrollTo(0, node.getBoundingClientRect().top - 20)"
        )
    return Image.open(io.BytesIO(tab.screenshot()))


def main() -> None:
    """Make all pictures, in the folder that is named or among the documentation's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with warehouse() as environment:
        (folder / "terminal.svg").write_text(terminal("sparkify-bulk reload data", environment))
    with warehouse() as environment:
        report(environment).save(folder / "report.png", optimize=True)


if __name__ == "__main__":
    main()
