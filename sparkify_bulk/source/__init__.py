"""Where bytes come from: which files are input, in which batches, and how they are read."""
