-- Ledger: the folders that files were read from, each by its resolved path. If a folder was
-- moved, change its path here, so that its files are still known.
CREATE TABLE IF NOT EXISTS roots (
    root_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    root    text NOT NULL
);
