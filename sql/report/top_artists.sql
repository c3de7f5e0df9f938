-- Most played artists, by the artist in the event.
SELECT left(event_artist, 300) AS name, plays
FROM (
    SELECT event_artist, count(*) AS plays
    FROM songplays
    WHERE event_artist IS NOT NULL
    GROUP BY event_artist
    ORDER BY plays DESC, event_artist
    LIMIT %(limit)s
) AS top
ORDER BY plays DESC, event_artist;
