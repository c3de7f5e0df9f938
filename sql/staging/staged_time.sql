-- Staging: the start times of a batch, with their parts.
CREATE UNLOGGED TABLE staged_time (
    start_time timestamptz NOT NULL,
    hour       smallint NOT NULL,
    day        smallint NOT NULL,
    week       smallint NOT NULL,
    month      smallint NOT NULL,
    year       smallint NOT NULL,
    weekday    smallint NOT NULL
) WITH (autovacuum_enabled = false);
