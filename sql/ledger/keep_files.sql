-- Move the files of a run from staging to the ledger; the parts of a big file become one row.
INSERT INTO files (run_id, kind, file, bytes, modified_ns, records, accepted, filtered, rejected)
SELECT
    %(run_id)s, kind, file, sum(bytes), max(modified_ns),
    sum(records), sum(accepted), sum(filtered), sum(rejected)
FROM staged_files
GROUP BY kind, file;
