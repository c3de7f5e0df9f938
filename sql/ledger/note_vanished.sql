-- Note the files of one kind that are gone; return those that were not noted before.
-- Key: (kind, digest). Conflict: it is noted already.
INSERT INTO vanished (kind, file, digest)
SELECT %(kind)s, gone.file, sha256(convert_to(gone.file, 'UTF8'))
FROM unnest(%(files)s::text[]) AS gone (file)
ON CONFLICT (kind, digest) DO NOTHING
RETURNING file;
