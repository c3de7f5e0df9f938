-- What only the load needed.
DROP TABLE IF EXISTS song_lines, event_lines, staged_songs, staged_plays, last_songs, credits;
