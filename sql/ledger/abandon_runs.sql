-- Mark runs that died without recording their end. Run under the star's lock, so that none of
-- them can still be active.
UPDATE runs
SET status = 'failed', ended_at = clock_timestamp(), exit_code = 1,
    error = 'the run ended without a word; a later run found it'
WHERE status = 'running' AND run_id <> %(run_id)s;
