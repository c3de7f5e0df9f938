-- Move the files of a run from staging to the ledger.
-- Key: (kind, root_id, file). Conflict: the file as it was read now replaces the old row.
INSERT INTO files
    (kind, root_id, file, run_id, bytes, modified_ns, records, accepted, filtered, rejected, digest)
SELECT
    kind, root_id, file, run_id, bytes, modified_ns, records, accepted, filtered, rejected, digest
FROM staged_files
ORDER BY kind, root_id, file
ON CONFLICT (kind, root_id, hashtextextended(file, 0), hashtextextended(file, 1)) DO UPDATE SET
    run_id = excluded.run_id,
    bytes = excluded.bytes,
    modified_ns = excluded.modified_ns,
    records = excluded.records,
    accepted = excluded.accepted,
    filtered = excluded.filtered,
    rejected = excluded.rejected,
    digest = excluded.digest;
