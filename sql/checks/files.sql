-- The number of files recorded in the ledger.
SELECT count(*) FROM files;
