-- Rejects of a run by reason: how many, how many of them a replay has resolved, how many are
-- superseded (their file was read again since, or the run failed), and the first few of each.
-- Without their raw text, which only those may see who may read the ledger.
SELECT
    reason,
    rejects,
    resolved,
    superseded,
    left(file, 300) AS file,
    line,
    "column",
    left(detail, 300) AS detail
FROM (
    SELECT
        r.reason, r.file, r.line, r."column", r.detail, r.reject_id,
        count(*) OVER (PARTITION BY r.reason) AS rejects,
        count(r.settled_by) OVER (PARTITION BY r.reason) AS resolved,
        count(*) FILTER (WHERE r.settled_by IS NULL AND f.run_id IS NULL)
            OVER (PARTITION BY r.reason) AS superseded,
        row_number() OVER (PARTITION BY r.reason ORDER BY r.reject_id) AS place
    FROM rejects AS r
    LEFT JOIN files AS f ON r.kind = f.kind AND r.file = f.file AND r.run_id = f.run_id
    WHERE r.run_id = %(run_id)s
) AS counted
WHERE place <= %(limit)s
ORDER BY rejects DESC, reason, reject_id;
