-- Record how the staged songs are credited in the star. Run before and after songs are merged:
-- an entry that is recorded only once has changed, and its plays are matched again
-- (merge/claims).
INSERT INTO staged_credits (song_id, artist_id, title, artist_name, duration)
SELECT song_id, artist_id, title, credited_artist, duration
FROM songs
WHERE song_id IN (SELECT staged_songs.song_id FROM staged_songs);
