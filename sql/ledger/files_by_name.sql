-- Ledger: the key of files; this table is filled before its key is built if a star is built from
-- scratch. It holds 128 bits of hashes of the name, since an index entry holds some 2,700 bytes,
-- and a path may be longer.
CREATE UNIQUE INDEX IF NOT EXISTS files_by_name
ON files (kind, root_id, hashtextextended(file, 0), hashtextextended(file, 1));
