-- The files of one kind, below one folder, that the star is made of, in the order of their names' bytes.
SELECT file, bytes, modified_ns, digest
FROM files
WHERE kind = %(kind)s
    AND root_id = (SELECT min(root_id) FROM roots WHERE root = %(root)s)
ORDER BY file;
