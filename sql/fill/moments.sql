-- Remove duplicate moments from a time table that has no key yet. Key: start_time.
-- Only the moments in %(moments)s and those within %(spans)s are checked.
WITH twice AS (
    SELECT start_time, min(ctid) AS kept
    FROM "time"
    WHERE start_time = ANY (%(moments)s::timestamptz [])
        OR start_time <@ %(spans)s::tstzmultirange
    GROUP BY start_time
    HAVING count(*) > 1
)
DELETE FROM "time"
USING twice
WHERE "time".start_time = twice.start_time
    AND "time".ctid <> twice.kept;
