-- Foreign key: the artist of a songplay is in artists.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists (artist_id);
