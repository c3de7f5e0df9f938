-- Foreign key: the user of a songplay is in users.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id);
