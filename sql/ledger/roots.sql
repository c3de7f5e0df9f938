-- Ledger: the folders that files were read from, each by its resolved path. Where a folder was moved,
-- its path may be changed here: its files stay known then.
CREATE TABLE IF NOT EXISTS roots (
    root_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    root    text NOT NULL
);
