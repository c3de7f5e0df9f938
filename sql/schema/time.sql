-- Dimension: when songs started, with parts in UTC; ISO week, weekday 0 = Monday.
-- Key: start_time.
CREATE TABLE "time" (
    start_time timestamptz NOT NULL,
    hour       smallint NOT NULL,
    day        smallint NOT NULL,
    week       smallint NOT NULL,
    month      smallint NOT NULL,
    year       smallint NOT NULL,
    weekday    smallint NOT NULL
);
