-- Most played songs, by title and artist in the event. Without the number of listeners, which
-- analysis/most_played_songs counts: for all songs that takes twice as long.
SELECT left(event_song, 300) AS name, left(event_artist, 300) AS artist, plays
FROM (
    SELECT event_song, event_artist, count(*) AS plays
    FROM songplays
    WHERE event_song IS NOT NULL
    GROUP BY event_song, event_artist
    ORDER BY plays DESC, event_song, event_artist
    LIMIT %(limit)s
) AS top
ORDER BY plays DESC, event_song, event_artist;
