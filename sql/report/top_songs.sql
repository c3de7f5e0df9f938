-- Most played songs, by the event's own words. Without the number of their listeners, which
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
