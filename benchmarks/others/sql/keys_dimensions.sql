-- The keys of the dimensions, for loaders that fill the tables themselves.
ALTER TABLE artists ADD PRIMARY KEY (artist_id);
ALTER TABLE songs ADD PRIMARY KEY (song_id);
ALTER TABLE users ADD PRIMARY KEY (user_id);
ALTER TABLE "time" ADD PRIMARY KEY (start_time);
