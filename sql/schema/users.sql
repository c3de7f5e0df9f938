-- Dimension: who listened.
-- Key: user_id. The row is that of the user's latest songplay, which the last_… columns
-- identify, so that an older file that is loaded later doesn't change it.
CREATE TABLE users (
    user_id              bigint NOT NULL,
    first_name           text,
    last_name            text,
    gender               text,
    level                text NOT NULL,
    last_start_time      timestamptz NOT NULL,
    last_session_id      bigint NOT NULL,
    last_item_in_session bigint NOT NULL
);
