-- The rejects that can be replayed: records, of one run where it is named, not settled yet.
SELECT reject_id, kind, file, "offset", raw
FROM rejects
WHERE settled_by IS NULL
    AND reason <> 'unreadable_file'
    AND run_id = coalesce(%(run_id)s::bigint, run_id)
ORDER BY reject_id;
