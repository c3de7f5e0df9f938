-- Rejects of a run by reason: how many, how many of them are settled, and the first few of each. Not
-- their raw text: that is for those who may read the ledger.
SELECT
    reason,
    rejects,
    settled,
    left(file, 300) AS file,
    line,
    "column",
    left(detail, 300) AS detail
FROM (
    SELECT
        reason, file, line, "column", detail, reject_id,
        count(*) OVER (PARTITION BY reason) AS rejects,
        count(settled_by) OVER (PARTITION BY reason) AS settled,
        row_number() OVER (PARTITION BY reason ORDER BY reject_id) AS place
    FROM rejects
    WHERE run_id = %(run_id)s
) AS counted
WHERE place <= %(limit)s
ORDER BY rejects DESC, reason, reject_id;
