-- The files of one kind that the star is made of, in the order of their names' bytes.
SELECT file, bytes, modified_ns, digest
FROM files
WHERE kind = %(kind)s
ORDER BY file;
