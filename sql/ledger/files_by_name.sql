-- Ledger: the key of files, whose table is filled first where a star is built anew. By 128 bits of
-- hashes of the name: an index entry holds some 2,700 bytes, and a path may be longer.
CREATE UNIQUE INDEX IF NOT EXISTS files_by_name
ON files (kind, root_id, hashtextextended(file, 0), hashtextextended(file, 1));
