-- Index to find the song of a play. The duration alone is selective, and unlike title and artist
-- name it has a bounded length, so that no song is too long for the index.
CREATE INDEX songs_duration ON songs (duration);
