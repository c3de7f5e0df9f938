-- Index to find the plays that match a song that is loaded later; constraints/indexes_songs says
-- why by duration.
CREATE INDEX songplays_event_length ON songplays (event_length);
