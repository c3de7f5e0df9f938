-- Key of users.
ALTER TABLE users ADD PRIMARY KEY (user_id);
