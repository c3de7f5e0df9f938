-- The keys of songplays: the surrogate and the natural one.
ALTER TABLE songplays
    ADD PRIMARY KEY (songplay_id),
    ADD UNIQUE (start_time, user_id, session_id, item_in_session);
