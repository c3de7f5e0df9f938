-- Move the rejects of a run from staging to the ledger.
INSERT INTO rejects (run_id, file, line, "offset", "column", reason, detail, raw)
SELECT %(run_id)s, file, line, "offset", "column", reason, detail, raw
FROM staged_rejects
ORDER BY file, "offset";
