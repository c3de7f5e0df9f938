-- Free against paid
SELECT
    level,
    count(*) AS plays,
    count(DISTINCT user_id) AS users,
    round(count(*)::numeric / count(DISTINCT user_id), 1) AS plays_a_user
FROM songplays
GROUP BY level
ORDER BY level;
