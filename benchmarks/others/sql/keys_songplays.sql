-- The keys of songplays, the surrogate and the natural one, and the index by which songs that come
-- later find their plays.
ALTER TABLE songplays
    ADD PRIMARY KEY (songplay_id),
    ADD UNIQUE (start_time, user_id, session_id, item_in_session);
CREATE INDEX ON songplays (event_length);
