-- Record the end of a run. A run that is already complete stays so: if the answer to its COMMIT
-- was lost, the run itself doesn't know yet.
UPDATE runs
SET status = %(status)s,
    ended_at = clock_timestamp(),
    exit_code = %(exit_code)s,
    error = %(error)s,
    report = %(report)s
WHERE run_id = %(run_id)s AND status = 'running';
