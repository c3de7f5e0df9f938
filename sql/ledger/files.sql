-- Ledger: what each run read of each file, as committed with its data.
CREATE TABLE IF NOT EXISTS files (
    run_id      bigint NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    kind        text NOT NULL,
    file        text NOT NULL,
    bytes       bigint NOT NULL,
    modified_ns bigint NOT NULL,
    records     bigint NOT NULL,
    accepted    bigint NOT NULL,
    filtered    bigint NOT NULL,
    rejected    bigint NOT NULL,
    PRIMARY KEY (run_id, kind, file)
);
