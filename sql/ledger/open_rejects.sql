-- The rejects that can be replayed: those not resolved yet, of one run if it is given. Only
-- those of the latest reading of a file: earlier ones are superseded.
SELECT r.reject_id, r.kind, r.file, r."offset", r.raw
FROM rejects AS r
INNER JOIN files AS f ON r.kind = f.kind AND r.file = f.file AND r.run_id = f.run_id
WHERE r.settled_by IS NULL
    AND r.reason <> 'unreadable_file'
    AND r.run_id = coalesce(%(run_id)s::bigint, r.run_id)
ORDER BY r.reject_id;
