-- Key of artists.
ALTER TABLE artists ADD PRIMARY KEY (artist_id);
