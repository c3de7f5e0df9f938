-- Merge the moments of the staged songplays.
-- Key: start_time. Conflict: the existing row stays, since its parts follow from the key.
-- Returns the rows inserted; none is ever updated.
WITH merged AS (
    INSERT INTO "time" (start_time, hour, day, week, month, year, weekday)
    SELECT DISTINCT start_time, hour, day, week, month, year, weekday
    FROM staged_time
    ORDER BY start_time
    ON CONFLICT (start_time) DO NOTHING
    RETURNING 1
)
SELECT count(*) AS inserted, 0::bigint AS updated
FROM merged;
