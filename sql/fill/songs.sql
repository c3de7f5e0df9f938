-- Fill a songs table that has no key yet.
-- Key: song_id, made unique here: the record with the greatest (source_file, source_offset) is
-- kept, as in merge/songs.
INSERT INTO songs
    (song_id, title, artist_id, year, duration, credited_artist, song_file, song_offset)
SELECT DISTINCT ON (song_id)
    song_id, title, artist_id, year, duration, artist_name, source_file, source_offset
FROM staged_songs
ORDER BY song_id, source_file DESC, source_offset DESC
ON CONFLICT DO NOTHING;
