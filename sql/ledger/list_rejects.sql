-- The rejects of one run, filtered by reason and file where these are named.
SELECT
    run_id, file, line, "offset", "column", reason, detail, raw, reject_id, kind, settled_by
FROM rejects
WHERE run_id = %(run_id)s
    AND reason = coalesce(%(reason)s::text, reason)
    AND file = coalesce(%(file)s::text, file)
ORDER BY reject_id;
