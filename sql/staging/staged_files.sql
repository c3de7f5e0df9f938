-- Staging: what a batch read of each file; moved to the ledger with the merge. A big file that is
-- read in parts has a row a part, each beginning at its own byte.
CREATE UNLOGGED TABLE staged_files (
    kind        text NOT NULL,
    file        text COLLATE "C" NOT NULL,
    start       bigint NOT NULL,
    bytes       bigint NOT NULL,
    modified_ns bigint NOT NULL,
    records     bigint NOT NULL,
    accepted    bigint NOT NULL,
    filtered    bigint NOT NULL,
    rejected    bigint NOT NULL,
    digest      bytea NOT NULL
) WITH (autovacuum_enabled = false);
