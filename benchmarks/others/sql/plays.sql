-- staged_plays and credits -> songplays. A play read twice is one row.
INSERT INTO songplays
    (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
     item_in_session, event_song, event_artist, event_length)
SELECT
    p.start_time, p.user_id, p.level, c.song_id, c.artist_id, p.session_id, p.location,
    p.user_agent, p.item_in_session, p.event_song, p.event_artist, p.event_length
FROM (
    SELECT DISTINCT ON (start_time, user_id, session_id, item_in_session) *
    FROM staged_plays
    ORDER BY start_time, user_id, session_id, item_in_session
) AS p
LEFT JOIN credits AS c
    ON c.duration = p.event_length
        AND c.title = p.event_song
        AND c.artist_name = p.event_artist;
