-- Settings of the server that affect the speed of a run, sizes in bytes; and its own time zone,
-- which that of a session may hide.
SELECT
    current_setting('wal_level'),
    pg_size_bytes(current_setting('max_wal_size')),
    (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone');
