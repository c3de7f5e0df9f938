"""The commands that `sparkify_bulk.cli` offers. Only they, and it, print anything."""
