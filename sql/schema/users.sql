-- Dimension: who listened.
-- Key: user_id. The row is as of the user's latest songplay, which the last_… columns name, so that
-- an older file loaded later never moves it back.
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
