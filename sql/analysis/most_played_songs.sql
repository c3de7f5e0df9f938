-- Most played songs
-- Counted by the event's own title and artist, so that songs missing from the catalogue are
-- included. Listeners are counted of these songs only: of all songs that takes as long again.
WITH top AS (
    SELECT event_song, event_artist, count(*) AS plays
    FROM songplays
    WHERE event_song IS NOT NULL
    GROUP BY event_song, event_artist
    ORDER BY plays DESC, event_song, event_artist
    LIMIT 10
)
SELECT
    top.event_song AS song,
    top.event_artist AS artist,
    top.plays,
    count(DISTINCT p.user_id) AS listeners
FROM top
INNER JOIN songplays AS p
    ON top.event_song = p.event_song AND top.event_artist IS NOT DISTINCT FROM p.event_artist
GROUP BY top.event_song, top.event_artist, top.plays
ORDER BY top.plays DESC, song, artist;
