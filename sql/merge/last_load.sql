-- Record in the star which run changes it, and when that run began.
-- Key: one_row, the only one. Conflict: the later run replaces the earlier one.
INSERT INTO last_load (loaded_by_run, loaded_at)
VALUES (%(run_id)s, %(started_at)s)
ON CONFLICT (one_row) DO UPDATE SET
    loaded_by_run = excluded.loaded_by_run,
    loaded_at = excluded.loaded_at;
