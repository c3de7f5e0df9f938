-- The rejects of one run, filtered by reason and file if these are given. state: resolved if a
-- replay has resolved it; superseded if the file was read again by another run, or the run
-- failed; else open.
SELECT
    r.run_id, r.file, r.line, r."offset", r."column", r.reason, r.detail, r.raw, r.reject_id, r.kind,
    r.settled_by,
    CASE
        WHEN r.settled_by IS NOT NULL THEN 'resolved'
        WHEN f.run_id IS NULL THEN 'superseded'
        ELSE 'open'
    END AS state
FROM rejects AS r
LEFT JOIN files AS f ON r.kind = f.kind AND r.file = f.file AND r.run_id = f.run_id
WHERE r.run_id = %(run_id)s
    AND r.reason = coalesce(%(reason)s::text, r.reason)
    AND r.file = coalesce(%(file)s::text, r.file)
ORDER BY r.reject_id;
