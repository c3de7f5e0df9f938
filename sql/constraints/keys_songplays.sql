-- Keys of songplays: the surrogate, and the natural key. Their indexes are built before, side by
-- side.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_pkey PRIMARY KEY USING INDEX songplays_pkey,
    ADD CONSTRAINT songplays_natural_key UNIQUE USING INDEX songplays_natural_key;
