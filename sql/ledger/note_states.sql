-- Record the state of the star's tables after a run, so that the next run need not count their
-- rows.
UPDATE runs
SET table_states = %(states)s
WHERE run_id = %(run_id)s;
