-- Plays by day, and by weekday (0 = Monday) and hour, UTC: a row has either a day, or a weekday
-- and an hour.
-- They are first counted by hour, so that the plays are read only once.
WITH counted AS (
    SELECT
        date_trunc('hour', start_time AT TIME ZONE 'UTC') AS began,
        count(*) AS plays,
        count(*) FILTER (WHERE level = 'free') AS free,
        count(*) FILTER (WHERE level = 'paid') AS paid,
        count(song_id) AS matched
    FROM songplays
    GROUP BY 1
),
hours AS (
    SELECT
        began::date AS day,
        extract(ISODOW FROM began)::integer - 1 AS weekday,
        extract(HOUR FROM began)::integer AS hour,
        plays,
        free,
        paid,
        matched
    FROM counted
)
SELECT
    day,
    weekday,
    hour,
    sum(plays)::bigint AS plays,
    sum(free)::bigint AS free,
    sum(paid)::bigint AS paid,
    sum(matched)::bigint AS matched
FROM hours
GROUP BY GROUPING SETS ((day), (weekday, hour))
ORDER BY day, weekday, hour;
