-- Finds the plays that a song arriving later claims; see indexes_songs for why the duration.
CREATE INDEX songplays_duration ON songplays (duration);
