-- Let the next songplay_id be the one after %(last)s: rows that are there came with their numbers.
SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'), %(last)s);
