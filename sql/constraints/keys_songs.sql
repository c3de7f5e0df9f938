-- Key of songs.
ALTER TABLE songs ADD PRIMARY KEY (song_id);
