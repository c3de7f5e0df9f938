-- Staging: song records as sent, each with the artist it describes. Emptied by any crash of the
-- server, so the merge compares its rows with the rows sent.
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
