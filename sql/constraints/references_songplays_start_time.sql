-- Foreign key: the start time of a songplay is in time.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_start_time_fkey FOREIGN KEY (start_time) REFERENCES "time" (start_time);
