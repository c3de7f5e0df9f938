-- Where the database's tables are stored: the folder of its default tablespace (empty for the
-- server's own), and the server's data folder if the role may know it.
SELECT
    CASE WHEN t.spcname = 'pg_default' THEN '' ELSE pg_tablespace_location(t.oid) END,
    CASE
        WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('data_directory')
    END
FROM pg_database AS d
INNER JOIN pg_tablespace AS t ON d.dattablespace = t.oid
WHERE d.datname = current_database();
