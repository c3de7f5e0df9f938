-- Settings of the server that a run's pace hangs on, sizes in bytes; and its own time zone, which a
-- session's may hide.
SELECT
    current_setting('wal_level'),
    pg_size_bytes(current_setting('max_wal_size')),
    (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone');
