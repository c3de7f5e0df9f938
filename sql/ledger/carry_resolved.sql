-- Keep rejects resolved when a file that has grown is read again, and the same bytes in the same
-- place are rejected again. Run before keep_files.sql, while files still names the run that read
-- the file before.
UPDATE rejects AS again
SET settled_by = before.settled_by
FROM rejects AS before
INNER JOIN files AS f
    ON before.kind = f.kind AND before.file = f.file AND before.run_id = f.run_id
WHERE again.run_id = %(run_id)s
    AND before.run_id <> again.run_id
    AND before.settled_by IS NOT NULL
    AND before.kind = again.kind
    AND before.file = again.file
    AND before."offset" = again."offset"
    AND before.raw = again.raw;
