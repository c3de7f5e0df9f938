-- Merge the users of the staged songplays.
-- Key: user_id. Conflict: the row comes from the latest songplay by (start_time, session_id,
-- item_in_session); if two records of that play differ, from the smallest row, so that the
-- result depends neither on order nor on batches.
-- Returns the rows inserted and updated.
WITH merged AS (
    INSERT INTO users AS u
        (user_id, first_name, last_name, gender, level,
         last_start_time, last_session_id, last_item_in_session)
    SELECT DISTINCT ON (user_id)
        user_id, first_name, last_name, gender, level, start_time, session_id, item_in_session
    FROM staged_users
    ORDER BY user_id, start_time DESC, session_id DESC, item_in_session DESC,
        ROW(level, first_name, last_name, gender) USING OPERATOR(pg_catalog.*<)
    ON CONFLICT (user_id) DO UPDATE SET
        first_name = excluded.first_name,
        last_name = excluded.last_name,
        gender = excluded.gender,
        level = excluded.level,
        last_start_time = excluded.last_start_time,
        last_session_id = excluded.last_session_id,
        last_item_in_session = excluded.last_item_in_session
    WHERE (excluded.last_start_time, excluded.last_session_id, excluded.last_item_in_session)
            > (u.last_start_time, u.last_session_id, u.last_item_in_session)
        OR ((excluded.last_start_time, excluded.last_session_id, excluded.last_item_in_session)
                = (u.last_start_time, u.last_session_id, u.last_item_in_session)
            AND ROW(excluded.level, excluded.first_name, excluded.last_name, excluded.gender)::record
                OPERATOR(pg_catalog.*<)
                ROW(u.level, u.first_name, u.last_name, u.gender)::record)
    RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted) AS inserted, count(*) FILTER (WHERE NOT inserted) AS updated
FROM merged;
