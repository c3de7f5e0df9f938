-- Keys of songplays: the surrogate key and the natural key. Their indexes are built before, in
-- parallel.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_pkey PRIMARY KEY USING INDEX songplays_pkey,
    ADD CONSTRAINT songplays_natural_key UNIQUE USING INDEX songplays_natural_key;
