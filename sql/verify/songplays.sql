-- Compare songplays (found_songplays) with the content of the files (expected_songplays), both
-- without the surrogate key: one row per kind of difference, with the number of differences and a
-- few keys.
SELECT difference, count(*) AS rows, (array_agg(key ORDER BY key))[1:3] AS keys
FROM (
    SELECT
        CASE
            WHEN s.start_time IS NULL THEN 'missing'
            WHEN e.start_time IS NULL THEN 'unknown to the files'
            ELSE 'different'
        END AS difference,
        concat_ws(' ', coalesce(e.start_time, s.start_time), coalesce(e.user_id,
            s.user_id), coalesce(e.session_id, s.session_id),
            coalesce(e.item_in_session, s.item_in_session)) AS key
    FROM found_songplays AS s
    FULL JOIN expected_songplays AS e
        ON s.start_time = e.start_time
        AND s.user_id = e.user_id
        AND s.session_id = e.session_id
        AND s.item_in_session = e.item_in_session
    WHERE
        s.start_time IS NULL
        OR e.start_time IS NULL
        OR s IS DISTINCT FROM e
) AS found
GROUP BY difference
ORDER BY difference;
