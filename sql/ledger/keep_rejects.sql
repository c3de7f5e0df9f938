-- Move the rejects of a run from staging to the ledger.
INSERT INTO rejects (run_id, kind, file, line, "offset", "column", reason, detail, raw)
SELECT %(run_id)s, kind, file, line, "offset", "column", reason, detail, raw
FROM staged_rejects
ORDER BY kind DESC, file, "offset";
