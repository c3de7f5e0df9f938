-- Plays by hour of the day (UTC)
SELECT t.hour, count(*) AS plays
FROM songplays AS p
INNER JOIN "time" AS t ON p.start_time = t.start_time
GROUP BY t.hour
ORDER BY t.hour;
