-- When the newest songplay began; NULL in an empty star.
SELECT max(start_time) FROM "time";
