-- Match plays again for every title, artist and duration whose songs have changed: a play gets a
-- song that was loaded after it, and loses one whose description no longer matches.
-- Returns the rows updated.
WITH changed AS (
    SELECT DISTINCT title, artist_name, duration
    FROM (
        SELECT title, artist_name, duration
        FROM staged_credits
        GROUP BY song_id, artist_id, title, artist_name, duration
        HAVING count(*) = 1
    ) AS once
),
matched AS (
    SELECT changed.title, changed.artist_name, changed.duration, song.song_id, song.artist_id
    FROM changed
    LEFT JOIN LATERAL (
        SELECT songs.song_id, songs.artist_id
        FROM songs
        WHERE songs.duration = changed.duration
            AND songs.title = changed.title
            AND songs.credited_artist = changed.artist_name
        ORDER BY songs.song_id
        LIMIT 1
    ) AS song ON true
),
claimed AS (
    UPDATE songplays AS p
    SET song_id = matched.song_id, artist_id = matched.artist_id
    FROM matched
    WHERE p.event_length = matched.duration
        AND p.event_song = matched.title
        AND p.event_artist = matched.artist_name
        AND (p.song_id, p.artist_id) IS DISTINCT FROM (matched.song_id, matched.artist_id)
    RETURNING 1
)
SELECT 0::bigint AS inserted, count(*) AS updated
FROM claimed;
