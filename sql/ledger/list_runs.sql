-- The latest runs, newest first.
SELECT run_id, command, status, started_at, ended_at, input, client_host, client_pid, client_user,
    exit_code, error, report
FROM runs
ORDER BY run_id DESC
LIMIT %(limit)s;
