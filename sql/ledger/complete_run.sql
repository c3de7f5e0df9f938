-- Complete the record of a run.
UPDATE runs
SET status = %(status)s,
    ended_at = clock_timestamp(),
    exit_code = %(exit_code)s,
    error = %(error)s,
    report = %(report)s
WHERE run_id = %(run_id)s;
