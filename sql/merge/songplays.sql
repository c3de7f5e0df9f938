-- Merge the staged songplays into a live star.
-- Key: (start_time, user_id, session_id, item_in_session). Conflict: a play that is read again
-- is one row; if two records of it differ, the smallest row is kept, so that the result depends
-- neither on order nor on batches.
-- A play gets the smallest song_id that has its title, artist and duration.
-- Returns the rows inserted and updated.
WITH plays AS (
    SELECT DISTINCT ON (start_time, user_id, session_id, item_in_session) *
    FROM staged_songplays
    ORDER BY start_time, user_id, session_id, item_in_session,
        ROW(level, location, user_agent, event_song, event_artist, event_length)
            USING OPERATOR(pg_catalog.*<)
),
merged AS (
    INSERT INTO songplays AS p
        (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
         item_in_session, event_song, event_artist, event_length)
    SELECT
        plays.start_time, plays.user_id, plays.level, song.song_id, song.artist_id,
        plays.session_id, plays.location, plays.user_agent,
        plays.item_in_session, plays.event_song, plays.event_artist, plays.event_length
    FROM plays
    LEFT JOIN LATERAL (
        SELECT songs.song_id, songs.artist_id
        FROM songs
        WHERE songs.duration = plays.event_length
            AND songs.title = plays.event_song
            AND songs.credited_artist = plays.event_artist
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
        event_song = excluded.event_song,
        event_artist = excluded.event_artist,
        event_length = excluded.event_length
    WHERE ROW(excluded.level, excluded.location, excluded.user_agent,
              excluded.event_song, excluded.event_artist, excluded.event_length)::record
        OPERATOR(pg_catalog.*<)
          ROW(p.level, p.location, p.user_agent,
              p.event_song, p.event_artist, p.event_length)::record
    RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted) AS inserted, count(*) FILTER (WHERE NOT inserted) AS updated
FROM merged;
