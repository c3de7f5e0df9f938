-- Foreign key: the artist of a song is in artists.
ALTER TABLE songs
    ADD CONSTRAINT songs_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists (artist_id);
