-- Remove moments sent twice from a time table that has no key yet. Key: start_time.
-- Only moments in %(moments)s are looked at; all, if it is NULL.
WITH twice AS (
    SELECT start_time, min(ctid) AS kept
    FROM "time"
    WHERE %(moments)s::timestamptz [] IS NULL OR start_time = ANY (%(moments)s::timestamptz [])
    GROUP BY start_time
    HAVING count(*) > 1
)
DELETE FROM "time"
USING twice
WHERE "time".start_time = twice.start_time
    AND "time".ctid <> twice.kept;
