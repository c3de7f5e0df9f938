-- Merge the staged songplays into a live star.
-- Key: (start_time, user_id, session_id, item_in_session). Conflict: a play read again is one row;
-- where it was recorded twice with different words, the smallest row image is the row, so that
-- neither order nor batches decide.
-- A play names the smallest song_id that has its title, artist and duration.
-- Returns the rows inserted and updated.
WITH plays AS (
    SELECT DISTINCT ON (start_time, user_id, session_id, item_in_session) *
    FROM staged_songplays
    ORDER BY start_time, user_id, session_id, item_in_session,
        ROW(level, location, user_agent, song_title, artist_name, duration)
            USING OPERATOR(pg_catalog.*<)
),
merged AS (
    INSERT INTO songplays AS p
        (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
         item_in_session, song_title, artist_name, duration)
    SELECT
        plays.start_time, plays.user_id, plays.level, song.song_id, song.artist_id,
        plays.session_id, plays.location, plays.user_agent,
        plays.item_in_session, plays.song_title, plays.artist_name, plays.duration
    FROM plays
    LEFT JOIN LATERAL (
        SELECT songs.song_id, songs.artist_id
        FROM songs
        WHERE songs.duration = plays.duration
            AND songs.title = plays.song_title
            AND songs.artist_name = plays.artist_name
        ORDER BY songs.song_id
        LIMIT 1
    ) AS song ON true
    ORDER BY plays.start_time, plays.user_id, plays.session_id, plays.item_in_session
    ON CONFLICT (start_time, user_id, session_id, item_in_session) DO UPDATE SET
        level = excluded.level,
        song_id = excluded.song_id,
        artist_id = excluded.artist_id,
        location = excluded.location,
        user_agent = excluded.user_agent,
        song_title = excluded.song_title,
        artist_name = excluded.artist_name,
        duration = excluded.duration
    WHERE ROW(excluded.level, excluded.location, excluded.user_agent,
              excluded.song_title, excluded.artist_name, excluded.duration)::record
        OPERATOR(pg_catalog.*<)
          ROW(p.level, p.location, p.user_agent, p.song_title, p.artist_name, p.duration)::record
    RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted) AS inserted, count(*) FILTER (WHERE NOT inserted) AS updated
FROM merged;
