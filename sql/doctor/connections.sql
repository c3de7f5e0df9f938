-- How many more connections the current role can open, by the limits of the server, the database
-- and the role itself. NULL means no limit; the connection that asks is counted as free, since
-- it ends before a run begins.
SELECT least(
    current_setting('max_connections')::integer
    - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', true), '0')::integer
    - (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),
    nullif(d.datconnlimit, -1)
    - (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid),
    nullif(r.rolconnlimit, -1)
    - (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid)
) + 1
FROM pg_database AS d
CROSS JOIN pg_roles AS r
WHERE d.datname = current_database() AND r.rolname = current_user;
