-- The natural key's index: it makes a play read twice one row. Beginning with start_time, it also
-- serves questions about a span of time.
CREATE UNIQUE INDEX songplays_natural_key
    ON songplays (start_time, user_id, session_id, item_in_session);
