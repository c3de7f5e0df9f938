-- The foreign keys, once all tables have their rows; and the index by which plays find their songs.
CREATE INDEX ON songs (duration);
ALTER TABLE songs ADD FOREIGN KEY (artist_id) REFERENCES artists;
ALTER TABLE songplays
    ADD FOREIGN KEY (start_time) REFERENCES "time",
    ADD FOREIGN KEY (user_id) REFERENCES users,
    ADD FOREIGN KEY (song_id) REFERENCES songs,
    ADD FOREIGN KEY (artist_id) REFERENCES artists;
