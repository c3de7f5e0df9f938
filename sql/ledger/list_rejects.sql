-- The rejects of one run, or of the last run that has ended where none is named.
SELECT run_id, file, line, "offset", "column", reason, detail, raw
FROM rejects
WHERE run_id = coalesce(
    %(run_id)s::bigint,
    (SELECT max(runs.run_id) FROM runs WHERE status <> 'running')
)
ORDER BY reject_id;
