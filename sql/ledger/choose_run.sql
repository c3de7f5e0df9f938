-- The run with a number; or, if none is given, the last load or reload that has ended.
SELECT run_id, command, started_at
FROM runs
WHERE run_id = coalesce(
    %(run_id)s::bigint,
    (
        SELECT max(runs.run_id)
        FROM runs
        WHERE status <> 'running' AND command IN ('load', 'reload')
    )
);
