-- Make the next songplay_id the one after %(last)s: the rows that were copied brought their
-- numbers.
SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'), %(last)s);
