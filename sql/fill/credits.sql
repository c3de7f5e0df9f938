-- How songs are credited: what a play must equal to name the song.
COPY songs (title, artist_name, duration, song_id, artist_id) TO STDOUT (FORMAT csv);
