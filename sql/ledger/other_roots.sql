-- The other folders that files of one kind were read from, with how many of these the star is made of;
-- none if there is a file of this folder.
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
