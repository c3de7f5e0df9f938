-- One run, or, if none is given, the last load or reload that has ended; and the current time.
SELECT
    now() AS moment, run_id, command, status, started_at, ended_at, input, client_host, client_user,
    exit_code, error, report
FROM runs
WHERE run_id = coalesce(
        %(run_id)s::bigint,
        (
            SELECT max(last.run_id)
            FROM runs AS last
            WHERE last.status <> 'running' AND last.command IN ('load', 'reload')
        )
    );
