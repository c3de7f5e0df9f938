-- Top locations
-- Grouped by user first: to count the different users of each location otherwise takes four times as
-- long.
SELECT location, sum(plays)::bigint AS plays, count(*) AS users
FROM (
    SELECT location, user_id, count(*) AS plays
    FROM songplays
    WHERE location IS NOT NULL
    GROUP BY location, user_id
) AS by_user
GROUP BY location
ORDER BY plays DESC, location
LIMIT 10;
