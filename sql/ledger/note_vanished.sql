-- Record the files of one kind and folder that are gone; return those that were not recorded as
-- gone before.
-- Key: (kind, root_id, digest). Conflict: it is recorded already.
INSERT INTO vanished (kind, root_id, file, digest)
SELECT %(kind)s, %(root_id)s, gone.file, sha256(convert_to(gone.file, 'UTF8'))
FROM unnest(%(files)s::text[]) AS gone (file)
ON CONFLICT (kind, root_id, digest) DO NOTHING
RETURNING file;
