-- Staging: songplays as sent by workers.
CREATE UNLOGGED TABLE staged_songplays (
    start_time      timestamptz NOT NULL,
    user_id         bigint NOT NULL,
    level           text NOT NULL,
    session_id      bigint NOT NULL,
    location        text,
    user_agent      text,
    item_in_session bigint NOT NULL,
    event_song      text,
    event_artist    text,
    event_length    double precision
) WITH (autovacuum_enabled = false);
