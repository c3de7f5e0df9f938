-- Compare time with the content of the files (expected_time): one row per kind of difference,
-- with the number of differences and a few keys.
SELECT difference, count(*) AS rows, (array_agg(key ORDER BY key))[1:3] AS keys
FROM (
    SELECT
        CASE
            WHEN s.start_time IS NULL THEN 'missing'
            WHEN e.start_time IS NULL THEN 'unknown to the files'
            ELSE 'different'
        END AS difference,
        coalesce(e.start_time, s.start_time)::text AS key
    FROM "time" AS s
    FULL JOIN expected_time AS e
        ON s.start_time = e.start_time
    WHERE
        s.start_time IS NULL
        OR e.start_time IS NULL
        OR (s.hour, s.day, s.week, s.month, s.year, s.weekday)
            IS DISTINCT FROM
            (e.hour, e.day, e.week, e.month, e.year, e.weekday)
) AS found
GROUP BY difference
ORDER BY difference;
