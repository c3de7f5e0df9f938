-- Ledger: files are told apart by their whole rows where changes are published: the key holds hashes,
-- by which no subscriber finds a row. Without this a publication of all tables would forbid updates.
ALTER TABLE files REPLICA IDENTITY FULL;
