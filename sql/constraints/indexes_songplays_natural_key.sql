-- Index of the natural key, which makes a play that is read twice one row. Since it begins with
-- start_time, it also serves queries for a range of time.
CREATE UNIQUE INDEX songplays_natural_key
    ON songplays (start_time, user_id, session_id, item_in_session);
