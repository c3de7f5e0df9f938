-- Index of the surrogate key; constraints/keys_songplays makes it the primary key.
CREATE UNIQUE INDEX songplays_pkey ON songplays (songplay_id);
