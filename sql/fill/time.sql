-- Fill an empty time table that has no key yet: all moments at once, in order.
-- Key: start_time, made unique here. Conflict: none can be.
INSERT INTO "time" (start_time, hour, day, week, month, year, weekday)
SELECT DISTINCT ON (start_time) start_time, hour, day, week, month, year, weekday
FROM staged_time
ORDER BY start_time
ON CONFLICT DO NOTHING;
