-- Most played artists
-- Counted by the event's own artist, so that artists missing from the catalogue are included.
SELECT event_artist AS artist, count(*) AS plays
FROM songplays
WHERE event_artist IS NOT NULL
GROUP BY event_artist
ORDER BY plays DESC, artist
LIMIT 10;
