-- Most played songs
-- Counted by the event's own title and artist, so that songs missing from the catalogue are
-- included.
SELECT
    event_song AS song,
    event_artist AS artist,
    count(*) AS plays,
    count(DISTINCT user_id) AS listeners
FROM songplays
GROUP BY event_song, event_artist
ORDER BY plays DESC, song, artist
LIMIT 10;
