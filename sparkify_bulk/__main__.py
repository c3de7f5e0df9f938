"""Run the command as `python -m sparkify_bulk`."""

from sparkify_bulk.cli import main

main()
