-- staged_plays -> users, each as of the latest play, and time.
INSERT INTO users (user_id, first_name, last_name, gender, level)
SELECT DISTINCT ON (user_id) user_id, first_name, last_name, gender, level
FROM staged_plays
ORDER BY user_id, start_time DESC, session_id DESC, item_in_session DESC;
ALTER TABLE users ADD PRIMARY KEY (user_id);
INSERT INTO "time" (start_time, hour, day, week, month, year, weekday)
SELECT
    start_time, extract(hour FROM utc), extract(day FROM utc), extract(week FROM utc),
    extract(month FROM utc), extract(year FROM utc), extract(isodow FROM utc) - 1
FROM (
    SELECT DISTINCT start_time, start_time AT TIME ZONE 'UTC' AS utc
    FROM staged_plays
    ORDER BY start_time
) AS moments;
ALTER TABLE "time" ADD PRIMARY KEY (start_time);
