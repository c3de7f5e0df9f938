-- Locations with the most plays.
SELECT left(location, 300) AS name, plays
FROM (
    SELECT location, count(*) AS plays
    FROM songplays
    WHERE location IS NOT NULL
    GROUP BY location
    ORDER BY plays DESC, location
    LIMIT %(limit)s
) AS top
ORDER BY plays DESC, location;
