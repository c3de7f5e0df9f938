-- Foreign key: the song of a songplay is in songs.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_song_id_fkey FOREIGN KEY (song_id) REFERENCES songs (song_id);
