-- Note how the star's tables were after a run, so that the next one need not count their rows.
UPDATE runs
SET table_states = %(states)s
WHERE run_id = %(run_id)s;
