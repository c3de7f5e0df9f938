-- Which of some relations another session uses now.
SELECT DISTINCT l.relation
FROM pg_locks AS l
WHERE l.locktype = 'relation'
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND l.relation = ANY (%(relations)s)
    AND l.pid IS DISTINCT FROM %(publisher)s;
