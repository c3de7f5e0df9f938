-- Index to find the rejects of one run.
CREATE INDEX IF NOT EXISTS rejects_run_id ON rejects (run_id);
