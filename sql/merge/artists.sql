-- Merge the artists that the staged songs describe.
-- Key: artist_id. Conflict: the record with the greatest (source_file, source_offset) is kept.
-- Returns the rows inserted and updated.
WITH merged AS (
    INSERT INTO artists AS a
        (artist_id, name, location, latitude, longitude, artist_file, artist_offset)
    SELECT DISTINCT ON (artist_id)
        artist_id, artist_name, location, latitude, longitude, source_file, source_offset
    FROM staged_songs
    ORDER BY artist_id, source_file DESC, source_offset DESC
    ON CONFLICT (artist_id) DO UPDATE SET
        name = excluded.name,
        location = excluded.location,
        latitude = excluded.latitude,
        longitude = excluded.longitude,
        artist_file = excluded.artist_file,
        artist_offset = excluded.artist_offset
    WHERE (excluded.artist_file, excluded.artist_offset) >= (a.artist_file, a.artist_offset)
        AND (excluded.name, excluded.location, excluded.latitude, excluded.longitude,
             excluded.artist_file, excluded.artist_offset)
            IS DISTINCT FROM
            (a.name, a.location, a.latitude, a.longitude, a.artist_file, a.artist_offset)
    RETURNING xmax = 0 AS inserted
)
SELECT count(*) FILTER (WHERE inserted) AS inserted, count(*) FILTER (WHERE NOT inserted) AS updated
FROM merged;
