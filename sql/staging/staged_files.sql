-- Staging: what a run read of each file; moved to the ledger with the merge.
CREATE UNLOGGED TABLE staged_files (
    kind        text NOT NULL,
    root_id     bigint NOT NULL,
    file        text COLLATE "C" NOT NULL,
    run_id      bigint NOT NULL,
    bytes       bigint NOT NULL,
    modified_ns bigint NOT NULL,
    records     bigint NOT NULL,
    accepted    bigint NOT NULL,
    filtered    bigint NOT NULL,
    rejected    bigint NOT NULL,
    digest      bytea NOT NULL
) WITH (autovacuum_enabled = false);
