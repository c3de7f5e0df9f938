-- How one run ended, or that it is running.
SELECT status FROM runs WHERE run_id = %(run_id)s;
