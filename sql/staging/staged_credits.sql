-- Staging: how the songs of a load were credited before and after they were merged.
CREATE UNLOGGED TABLE staged_credits (
    song_id     text COLLATE "C" NOT NULL,
    artist_id   text COLLATE "C" NOT NULL,
    title       text NOT NULL,
    artist_name text NOT NULL,
    duration    double precision NOT NULL
) WITH (autovacuum_enabled = false);
