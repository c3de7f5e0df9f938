-- Ledger: the replica identity of files is the whole row, since the key consists of hashes, by
-- which no subscriber can find a row. Without it a publication FOR ALL TABLES would forbid
-- updates.
ALTER TABLE files REPLICA IDENTITY FULL;
