-- The status of one run: how it ended, or that it is running.
SELECT status FROM runs WHERE run_id = %(run_id)s;
