-- Most active users
SELECT
    u.user_id,
    concat_ws(' ', u.first_name, u.last_name) AS name,
    u.level,
    count(*) AS plays,
    count(DISTINCT p.session_id) AS sessions
FROM songplays AS p
INNER JOIN users AS u ON p.user_id = u.user_id
GROUP BY u.user_id
ORDER BY plays DESC, u.user_id
LIMIT 10;
