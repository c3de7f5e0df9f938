-- How many songs plays may be matched with.
SELECT count(*) FROM songs;
