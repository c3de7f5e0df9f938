-- Ledger: the records that a run rejected, each with where it was found, why, and its original
-- bytes. settled_by is the run that replayed it successfully.
CREATE TABLE IF NOT EXISTS rejects (
    reject_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     bigint NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    kind       text NOT NULL,
    file       text COLLATE "C" NOT NULL,
    line       bigint,
    "offset"   bigint,
    "column"   text,
    reason     text NOT NULL,
    detail     text NOT NULL,
    raw        bytea NOT NULL,
    settled_by bigint REFERENCES runs (run_id)
);
