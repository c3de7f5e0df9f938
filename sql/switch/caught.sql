-- Whether a session holds a lock on one of some relations, and waits for a lock on another of
-- them: if the publisher waits for the first, the two would wait for each other for ever.
SELECT EXISTS (
    SELECT
    FROM pg_locks AS h
    INNER JOIN pg_locks AS w USING (pid)
    WHERE h.locktype = 'relation'
        AND h.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        AND h.relation = ANY (%(relations)s)
        AND h.granted
        AND w.locktype = 'relation'
        AND w.database = h.database
        AND w.relation = ANY (%(relations)s)
        AND NOT w.granted
        AND h.pid <> %(publisher)s
);
