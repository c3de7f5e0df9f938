-- The run that is recorded as running, which holds the star's lock.
SELECT run_id, command, started_at, client_host, client_pid, client_user
FROM runs
WHERE status = 'running'
ORDER BY run_id DESC
LIMIT 1;
