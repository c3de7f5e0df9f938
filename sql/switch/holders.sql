-- The sessions that hold a lock on some relations, as far as this role may see them: process,
-- role, application, since when, and how the statement begins. The statement is cut where the
-- first value or comment may begin. A transaction that was prepared for a two-phase commit has
-- no process.
SELECT
    l.pid,
    a.usename,
    coalesce(a.application_name, '') AS application,
    coalesce(a.xact_start, a.query_start) AS since,
    left(
        regexp_replace(
            regexp_replace(coalesce(a.query, ''), '(''|\$|--|/\*|\m[0-9]).*$', '…'), '\s+', ' ', 'g'
        ),
        100
    ) AS statement
FROM pg_locks AS l
LEFT JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'relation'
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND l.relation = ANY (%(relations)s)
    AND l.granted
    AND l.pid IS DISTINCT FROM %(publisher)s
GROUP BY l.pid, a.usename, a.application_name, a.xact_start, a.query_start, a.query
ORDER BY since, l.pid;
