-- Merge the staged songs.
-- Key: song_id. Conflict: the record with the greatest (source_file, source_offset) is kept.
-- Returns the rows inserted and updated.
WITH merged AS (
    INSERT INTO songs AS s
        (song_id, title, artist_id, year, duration, credited_artist, song_file, song_offset)
    SELECT DISTINCT ON (song_id)
        song_id, title, artist_id, year, duration, artist_name, source_file, source_offset
    FROM staged_songs
    ORDER BY song_id, source_file DESC, source_offset DESC
    ON CONFLICT (song_id) DO UPDATE SET
        title = excluded.title,
        artist_id = excluded.artist_id,
        year = excluded.year,
        duration = excluded.duration,
        credited_artist = excluded.credited_artist,
        song_file = excluded.song_file,
        song_offset = excluded.song_offset
    WHERE (excluded.song_file, excluded.song_offset) >= (s.song_file, s.song_offset)
        AND (excluded.title, excluded.artist_id, excluded.year, excluded.duration,
             excluded.credited_artist, excluded.song_file, excluded.song_offset)
            IS DISTINCT FROM
            (s.title, s.artist_id, s.year, s.duration,
             s.credited_artist, s.song_file, s.song_offset)
    RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted) AS inserted, count(*) FILTER (WHERE NOT inserted) AS updated
FROM merged;
