-- Staging: song records as sent by workers, each with the artist that it describes. Any crash of
-- the server empties the table, so the merge compares the number of its rows with the number
-- sent.
CREATE UNLOGGED TABLE staged_songs (
    song_id       text COLLATE "C" NOT NULL,
    title         text NOT NULL,
    artist_id     text COLLATE "C" NOT NULL,
    year          integer,
    duration      double precision NOT NULL,
    artist_name   text NOT NULL,
    location      text,
    latitude      double precision,
    longitude     double precision,
    source_file   text COLLATE "C" NOT NULL,
    source_offset bigint NOT NULL
) WITH (autovacuum_enabled = false);
