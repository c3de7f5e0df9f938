-- Plays by weekday (UTC)
SELECT
    (ARRAY['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[
        t.weekday + 1
    ] AS weekday,
    count(*) AS plays
FROM songplays AS p
INNER JOIN "time" AS t ON p.start_time = t.start_time
GROUP BY t.weekday
ORDER BY t.weekday;
