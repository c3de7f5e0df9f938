-- Most played songs
-- Counts by the event's own words, so that songs missing from the catalogue count too.
SELECT
    event_song AS song,
    event_artist AS artist,
    count(*) AS plays,
    count(DISTINCT user_id) AS listeners
FROM songplays
GROUP BY event_song, event_artist
ORDER BY plays DESC, song, artist
LIMIT 10;
