"""Draw what a terminal shows of a command: `python docs/terminal.py OUT.svg COMMAND…`.

Takes tmux, which plays the terminal, 80 wide.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 80, 60
# The reader's own fonts: none is fetched.
TEMPLATE = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_END = "that was all"


def screen(command: str) -> str:
    """Return what a terminal shows when a command has ended, with its colours as escapes."""
    with tempfile.TemporaryDirectory() as folder:
        tmux = ["tmux", "-S", f"{folder}/socket"]
        size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
        shell = f"{command}; printf '{_END}'; read -r _"
        subprocess.run([*tmux, "new-session", "-d", *size, shell], check=True)
        shown = ""
        while _END not in shown:
            time.sleep(0.1)
            capture = [*tmux, "capture-pane", "-e", "-p"]
            shown = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        subprocess.run([*tmux, "kill-server"], check=True)
    return shown.partition(_END)[0].rstrip()


def main() -> None:
    """Run the command that is named, and draw its screen."""
    output, command = Path(sys.argv[1]), " ".join(sys.argv[2:])
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere)
        console.print(Text.from_ansi(f"$ {command}\n{screen(command)}"))
        output.write_text(console.export_svg(title="", code_format=TEMPLATE, unique_id="terminal"))


if __name__ == "__main__":
    main()
