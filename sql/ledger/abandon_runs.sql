-- Mark the runs that died without a word. Run under the lock: no run that is alive can be among them.
UPDATE runs
SET status = 'failed', ended_at = clock_timestamp(), exit_code = 1,
    error = 'the run ended without a word; a later run found it'
WHERE status = 'running' AND run_id <> %(run_id)s;
