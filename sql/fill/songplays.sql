-- Fill a songplays table that has no key yet from one worker's staging table.
-- Key: none yet; plays read twice are removed by fill/duplicates before the key is built.
-- A play names the smallest song_id that has its title, artist and duration.
INSERT INTO songplays
    (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
     item_in_session, song_title, artist_name, duration)
SELECT
    p.start_time, p.user_id, p.level, song.song_id, song.artist_id, p.session_id, p.location,
    p.user_agent, p.item_in_session, p.song_title, p.artist_name, p.duration
FROM staged_songplays AS p
LEFT JOIN (
    SELECT DISTINCT ON (title, artist_name, duration)
        title, artist_name, duration, song_id, artist_id
    FROM songs
    ORDER BY title, artist_name, duration, song_id
) AS song
    ON song.duration = p.duration
    AND song.title = p.song_title
    AND song.artist_name = p.artist_name
ON CONFLICT DO NOTHING;
