-- The rejects of one run, or of the last load or reload that has ended where none is named;
-- filtered by reason and file, where these are named.
SELECT
    run_id, file, line, "offset", "column", reason, detail, raw, reject_id, kind, settled_by
FROM rejects
WHERE run_id = coalesce(
        %(run_id)s::bigint,
        (
            SELECT max(runs.run_id)
            FROM runs
            WHERE status <> 'running' AND command IN ('load', 'reload')
        )
    )
    AND reason = coalesce(%(reason)s::text, reason)
    AND file = coalesce(%(file)s::text, file)
ORDER BY reject_id;
