-- Staging: the records that a batch rejected; moved to the ledger with the merge.
CREATE UNLOGGED TABLE staged_rejects (
    kind     text NOT NULL,
    file     text COLLATE "C" NOT NULL,
    line     bigint,
    "offset" bigint,
    "column" text,
    reason   text NOT NULL,
    detail   text NOT NULL,
    raw      bytea NOT NULL
) WITH (autovacuum_enabled = false);
