-- Ledger: the key of files, whose table is filled first where a star is built anew.
CREATE UNIQUE INDEX IF NOT EXISTS files_key ON files (kind, file);
