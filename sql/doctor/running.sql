-- The runs recorded as running; if no session holds the star's lock, they have died.
SELECT run_id
FROM runs
WHERE status = 'running'
ORDER BY run_id;
