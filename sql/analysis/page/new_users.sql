-- New users by day, UTC: those whose first play was on that day.
SELECT (first_play AT TIME ZONE 'UTC')::date AS day, count(*) AS users
FROM (SELECT min(start_time) AS first_play FROM songplays GROUP BY user_id) AS first_plays
GROUP BY 1
ORDER BY 1;
