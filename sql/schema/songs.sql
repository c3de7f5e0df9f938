-- Dimension: what can be listened to.
-- Key: song_id. Several files may describe one song: the record with the greatest
-- (source_file, source_offset) is the row, whatever the order of loading.
-- artist_name is the name credited in the song's own file: songplays are matched by it.
CREATE TABLE songs (
    song_id       text COLLATE "C" NOT NULL,
    title         text NOT NULL,
    artist_id     text COLLATE "C" NOT NULL,
    year          integer,
    duration      double precision NOT NULL,
    artist_name   text NOT NULL,
    source_file   text COLLATE "C" NOT NULL,
    source_offset bigint NOT NULL
);
