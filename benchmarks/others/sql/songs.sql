-- staged_songs -> artists, songs, and credits: the song that a title, artist and duration name.
-- Of several records of a song or an artist the last counts (n follows the sorted paths).
INSERT INTO artists (artist_id, name, location, latitude, longitude)
SELECT DISTINCT ON (artist_id) artist_id, artist_name, location, latitude, longitude
FROM staged_songs
ORDER BY artist_id, n DESC;
ALTER TABLE artists ADD PRIMARY KEY (artist_id);
CREATE UNLOGGED TABLE last_songs AS
SELECT DISTINCT ON (song_id) *
FROM staged_songs
ORDER BY song_id, n DESC;
INSERT INTO songs (song_id, title, artist_id, year, duration)
SELECT song_id, title, artist_id, year, duration
FROM last_songs;
ALTER TABLE songs ADD PRIMARY KEY (song_id);
CREATE UNLOGGED TABLE credits AS
SELECT DISTINCT ON (duration, title COLLATE "C", artist_name COLLATE "C")
    title, artist_name, duration, song_id, artist_id
FROM last_songs
ORDER BY duration, title COLLATE "C", artist_name COLLATE "C", song_id;
ANALYZE credits;
