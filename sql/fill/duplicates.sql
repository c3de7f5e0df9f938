-- Remove plays read twice from a songplays table that has no key yet.
-- Key: (start_time, user_id, session_id, item_in_session). The smallest row image stays, as in
-- merge/songplays, and of equal ones the smallest songplay_id.
-- Only the moments in %(moments)s and those within %(spans)s are looked at.
WITH twice AS (
    SELECT start_time, user_id, session_id, item_in_session
    FROM songplays
    WHERE start_time = ANY (%(moments)s::timestamptz [])
        OR start_time <@ %(spans)s::tstzmultirange
    GROUP BY start_time, user_id, session_id, item_in_session
    HAVING count(*) > 1
),
ranked AS (
    SELECT
        p.ctid,
        row_number() OVER (
            PARTITION BY p.start_time, p.user_id, p.session_id, p.item_in_session
            ORDER BY
                ROW(p.level, p.location, p.user_agent, p.song_title, p.artist_name, p.duration,
                    p.songplay_id)
                USING OPERATOR(pg_catalog.*<)
        ) AS place
    FROM songplays AS p
    INNER JOIN twice
        ON p.start_time = twice.start_time
        AND p.user_id = twice.user_id
        AND p.session_id = twice.session_id
        AND p.item_in_session = twice.item_in_session
)
DELETE FROM songplays
WHERE ctid = ANY (ARRAY(SELECT ctid FROM ranked WHERE place > 1));
