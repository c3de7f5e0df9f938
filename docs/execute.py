"""Execute a notebook in a kernel of its own, and keep what came out: `make notebook`.

Nothing that differs from run to run is kept beside it: no times, no names of cells.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parent / "explore.ipynb"


def execute(path: Path) -> NotebookNode:
    """Return a notebook with the outputs of a fresh kernel, which works in the notebook's folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    # Several figures and a star to load: a slow machine may take a while.
    client = NotebookClient(notebook, timeout=600, record_timing=False, resources=place)
    manager = client.create_kernel_manager()
    with tempfile.TemporaryDirectory() as sockets:
        # Over TCP the kernel warns that anybody on this machine may listen.
        manager.transport, manager.ip = "ipc", f"{sockets}/kernel"
        return client.execute()


def main() -> None:
    """Execute the notebooks named, or the one in this folder, and write them."""
    for path in map(Path, sys.argv[1:] or [NOTEBOOK]):
        notebook = execute(path)
        # The patch version of whoever executed it last tells nothing.
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
