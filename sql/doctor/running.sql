-- The runs on record as running; if nobody holds the star's lock they are dead.
SELECT run_id
FROM runs
WHERE status = 'running'
ORDER BY run_id;
