-- Key of time.
ALTER TABLE "time" ADD PRIMARY KEY (start_time);
