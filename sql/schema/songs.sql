-- Dimension: what can be listened to.
-- Key: song_id. If several files describe one song, the record with the greatest (song_file,
-- song_offset) is kept, whatever the order of loading.
-- credited_artist is the artist's name in the song's own file: songplays are matched by it.
CREATE TABLE songs (
    song_id         text COLLATE "C" NOT NULL,
    title           text NOT NULL,
    artist_id       text COLLATE "C" NOT NULL,
    year            integer,
    duration        double precision NOT NULL,
    credited_artist text NOT NULL,
    song_file       text COLLATE "C" NOT NULL,
    song_offset     bigint NOT NULL
);
