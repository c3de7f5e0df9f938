-- A table beside the star's five: the run that changed them last, one row, committed with the
-- data. If the ledger's last run is another, the star or the ledger was restored or changed by
-- hand.
CREATE TABLE last_load (
    one_row       boolean DEFAULT true NOT NULL PRIMARY KEY CHECK (one_row),
    loaded_by_run bigint NOT NULL,
    loaded_at     timestamptz NOT NULL
);
