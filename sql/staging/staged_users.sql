-- Staging: each user as of the latest songplay of a batch.
CREATE UNLOGGED TABLE staged_users (
    user_id         bigint NOT NULL,
    first_name      text,
    last_name       text,
    gender          text,
    level           text NOT NULL,
    start_time      timestamptz NOT NULL,
    session_id      bigint NOT NULL,
    item_in_session bigint NOT NULL
) WITH (autovacuum_enabled = false);
