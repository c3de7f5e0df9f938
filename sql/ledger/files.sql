-- Ledger: the files that the star is made of, each as the last run that read it found it, with
-- its counts: records = accepted + filtered + rejected. Committed with the data, so that a file
-- is recorded exactly when its records are in the star. root_id is its folder's number in roots.
CREATE TABLE IF NOT EXISTS files (
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
    digest      bytea NOT NULL,
    CHECK (records = accepted + filtered + rejected)
);
