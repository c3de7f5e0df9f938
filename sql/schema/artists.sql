-- Dimension: who is credited on a song.
-- Key: artist_id. If several files describe one artist, the record with the greatest
-- (artist_file, artist_offset) is kept, whatever the order of loading.
CREATE TABLE artists (
    artist_id     text COLLATE "C" NOT NULL,
    name          text NOT NULL,
    location      text,
    latitude      double precision,
    longitude     double precision,
    artist_file   text COLLATE "C" NOT NULL,
    artist_offset bigint NOT NULL
);
