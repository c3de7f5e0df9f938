-- A songplay names a known song.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_song_id_fkey FOREIGN KEY (song_id) REFERENCES songs (song_id);
