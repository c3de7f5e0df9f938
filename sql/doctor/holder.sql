-- The server process that holds the star's lock, if there is one. pg_locks shows a key of 64
-- bits as two halves.
SELECT l.pid
FROM pg_locks AS l
INNER JOIN pg_database AS d ON l.database = d.oid
WHERE l.locktype = 'advisory'
    AND l.objsubid = 1
    AND l.granted
    AND d.datname = current_database()
    AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(%(lock)s, 0);
