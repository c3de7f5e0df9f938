-- Fill a songplays table that has no key yet from one worker's staging table.
-- Key: none yet; fill/duplicates removes plays that were read twice before the key is built.
-- A play gets the smallest song_id that has its title, artist and duration.
INSERT INTO songplays
    (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
     item_in_session, event_song, event_artist, event_length)
SELECT
    p.start_time, p.user_id, p.level, song.song_id, song.artist_id, p.session_id, p.location,
    p.user_agent, p.item_in_session, p.event_song, p.event_artist, p.event_length
FROM staged_songplays AS p
LEFT JOIN (
    SELECT DISTINCT ON (title, credited_artist, duration)
        title, credited_artist, duration, song_id, artist_id
    FROM songs
    ORDER BY title, credited_artist, duration, song_id
) AS song
    ON song.duration = p.event_length
    AND song.title = p.event_song
    AND song.credited_artist = p.event_artist
ON CONFLICT DO NOTHING;
