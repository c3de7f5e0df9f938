-- Beside the star's tables: the run that changed them last, one row, committed with the data. Where the
-- ledger's last run is another, one of both was restored or changed by hand.
CREATE TABLE last_load (
    one_row       boolean DEFAULT true NOT NULL PRIMARY KEY CHECK (one_row),
    loaded_by_run bigint NOT NULL,
    loaded_at     timestamptz NOT NULL
);
