-- Staging: songplays as sent.
CREATE UNLOGGED TABLE staged_songplays (
    start_time      timestamptz NOT NULL,
    user_id         bigint NOT NULL,
    level           text NOT NULL,
    session_id      bigint NOT NULL,
    location        text,
    user_agent      text,
    item_in_session bigint NOT NULL,
    song_title      text,
    artist_name     text,
    duration        double precision
) WITH (autovacuum_enabled = false);
