-- Most played songs
-- Counts by the event's own words, so that songs missing from the catalogue count too.
SELECT
    song_title AS song,
    artist_name AS artist,
    count(*) AS plays,
    count(DISTINCT user_id) AS listeners
FROM songplays
GROUP BY song_title, artist_name
ORDER BY plays DESC, song, artist
LIMIT 10;
