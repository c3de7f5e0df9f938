-- The start of the newest songplay; NULL in an empty star. It isn't read from time, which may
-- hold moments without plays; the natural key's index begins with start_time.
SELECT max(start_time)
FROM songplays;
