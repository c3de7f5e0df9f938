-- Keys of songplays: the surrogate, and the natural key that makes a play read twice one row.
-- The natural key begins with start_time, so it also serves questions about a span of time.
ALTER TABLE songplays
    ADD PRIMARY KEY (songplay_id),
    ADD CONSTRAINT songplays_natural_key
        UNIQUE (start_time, user_id, session_id, item_in_session);
