-- A songplay names a known user.
ALTER TABLE songplays
    ADD CONSTRAINT songplays_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id);
