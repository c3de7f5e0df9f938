-- The other folders that recorded files of one kind were read from, with the number of their
-- files; no rows if a file of this folder is recorded.
SELECT r.root, count(*) AS files
FROM files AS f
INNER JOIN roots AS r USING (root_id)
WHERE f.kind = %(kind)s
    AND NOT EXISTS (
        SELECT
        FROM files AS own
        INNER JOIN roots AS here USING (root_id)
        WHERE own.kind = %(kind)s AND here.root = %(root)s
    )
GROUP BY r.root
ORDER BY files DESC, r.root;
