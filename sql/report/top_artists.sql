-- Most played artists, by the event's own words.
SELECT left(artist_name, 300) AS name, plays
FROM (
    SELECT artist_name, count(*) AS plays
    FROM songplays
    WHERE artist_name IS NOT NULL
    GROUP BY artist_name
    ORDER BY plays DESC, artist_name
    LIMIT %(limit)s
) AS top
ORDER BY plays DESC, artist_name;
