-- The recorded files of one kind below one folder, in the byte order of their names.
SELECT file, bytes, modified_ns, digest
FROM files
WHERE kind = %(kind)s
    AND root_id = (SELECT min(root_id) FROM roots WHERE root = %(root)s)
ORDER BY file;
