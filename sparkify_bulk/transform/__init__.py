"""The rules that records follow, and the frames that each table is filled from."""
