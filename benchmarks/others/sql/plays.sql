-- staged_plays and credits -> songplays. A play read twice is one row.
INSERT INTO songplays
    (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
     item_in_session, song_title, artist_name, duration)
SELECT
    p.start_time, p.user_id, p.level, c.song_id, c.artist_id, p.session_id, p.location,
    p.user_agent, p.item_in_session, p.song_title, p.artist_name, p.duration
FROM (
    SELECT DISTINCT ON (start_time, user_id, session_id, item_in_session) *
    FROM staged_plays
    ORDER BY start_time, user_id, session_id, item_in_session
) AS p
LEFT JOIN credits AS c
    ON c.duration = p.duration AND c.title = p.song_title AND c.artist_name = p.artist_name;
