-- Fill an artists table that has no key yet.
-- Key: artist_id, made unique here: the record with the greatest (source_file, source_offset) is
-- kept, as in merge/artists.
INSERT INTO artists
    (artist_id, name, location, latitude, longitude, artist_file, artist_offset)
SELECT DISTINCT ON (artist_id)
    artist_id, artist_name, location, latitude, longitude, source_file, source_offset
FROM staged_songs
ORDER BY artist_id, source_file DESC, source_offset DESC
ON CONFLICT DO NOTHING;
