-- Dimension: who is credited on a song.
-- Key: artist_id. Several files may describe one artist: the record with the greatest
-- (source_file, source_offset) is the row, whatever the order of loading.
CREATE TABLE artists (
    artist_id     text COLLATE "C" NOT NULL,
    name          text NOT NULL,
    location      text,
    latitude      double precision,
    longitude     double precision,
    source_file   text COLLATE "C" NOT NULL,
    source_offset bigint NOT NULL
);
