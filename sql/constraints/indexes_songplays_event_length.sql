-- Finds the plays that a song arriving later claims; see indexes_songs for why the duration.
CREATE INDEX songplays_event_length ON songplays (event_length);
