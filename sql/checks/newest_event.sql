-- When the newest songplay began; NULL in an empty star. Not read from time, whose moments may have lost
-- their plays; the natural key's index begins with the moment.
SELECT max(start_time)
FROM songplays;
