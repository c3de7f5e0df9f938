-- Who holds the star: the run on record as running.
SELECT run_id, command, started_at, client_host, client_pid, client_user
FROM runs
WHERE status = 'running'
ORDER BY run_id DESC
LIMIT 1;
