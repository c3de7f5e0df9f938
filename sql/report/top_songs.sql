-- Most played songs, by the event's own words. Without the number of their listeners, which
-- analysis/most_played_songs counts: for all songs that takes twice as long.
SELECT left(song_title, 300) AS name, left(artist_name, 300) AS artist, plays
FROM (
    SELECT song_title, artist_name, count(*) AS plays
    FROM songplays
    WHERE song_title IS NOT NULL
    GROUP BY song_title, artist_name
    ORDER BY plays DESC, song_title, artist_name
    LIMIT %(limit)s
) AS top
ORDER BY plays DESC, song_title, artist_name;
