-- Top locations
SELECT location, count(*) AS plays, count(DISTINCT user_id) AS users
FROM songplays
WHERE location IS NOT NULL
GROUP BY location
ORDER BY plays DESC, location
LIMIT 10;
