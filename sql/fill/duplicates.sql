-- Remove duplicate plays from a songplays table that has no key yet.
-- Key: (start_time, user_id, session_id, item_in_session). The smallest row is kept, as in
-- merge/songplays, and of equal rows the one with the smallest songplay_id.
-- Only the moments in %(moments)s and those within %(spans)s are checked, and whole rows are
-- compared only for plays that occur twice.
WITH doubtful AS MATERIALIZED (
    SELECT
        ctid AS place,
        count(*) OVER (PARTITION BY start_time, user_id, session_id, item_in_session) AS times
    FROM songplays
    WHERE start_time = ANY (%(moments)s::timestamptz [])
        OR start_time <@ %(spans)s::tstzmultirange
),
ranked AS (
    SELECT
        ctid AS place,
        row_number() OVER (
            PARTITION BY start_time, user_id, session_id, item_in_session
            ORDER BY
                -- All columns but these: what the event itself says.
                jsonb_populate_record(
                    p, '{"songplay_id": 0, "song_id": null, "artist_id": null}'
                ) USING OPERATOR(pg_catalog.*<),
                songplay_id
        ) AS rank
    FROM songplays AS p
    WHERE ctid = ANY (ARRAY(SELECT place FROM doubtful WHERE times > 1))
)
DELETE FROM songplays
WHERE ctid = ANY (ARRAY(SELECT place FROM ranked WHERE rank > 1));
