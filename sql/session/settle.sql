-- Set what a run relies on, if it is set otherwise, and return the settings that were changed,
-- after other facts about the session. Settings that the server doesn't know are ignored.
-- Nothing is set if the connection goes through a pooler, since other clients use the same
-- session: the process of the server is then another one than the pooler named.
-- A commit that waits for more than the server's own disk is as good as one that waits for that.
SELECT
    pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) %(pid)s AS is_pooled,
    pg_catalog.pg_is_in_recovery() AS is_standby,
    ARRAY(
        SELECT s.name
        FROM pg_catalog.unnest(%(names)s::pg_catalog.text[]) AS s (name)
        WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL
    ) AS known,
    ARRAY(
        SELECT s.name
        FROM ROWS FROM (
            pg_catalog.unnest(%(names)s::pg_catalog.text[]),
            pg_catalog.unnest(%(values)s::pg_catalog.text[])
        ) AS s (name, value)
        WHERE CASE
            WHEN pg_catalog.current_setting(s.name, true) IS NULL THEN false
            WHEN pg_catalog.current_setting(s.name, true) OPERATOR(pg_catalog.=) s.value THEN false
            WHEN s.name OPERATOR(pg_catalog.=) 'synchronous_commit'
                AND pg_catalog.current_setting(s.name) OPERATOR(pg_catalog.<>) 'off' THEN false
            WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) %(pid)s THEN true
            ELSE pg_catalog.set_config(s.name, s.value, false) IS NOT NULL
        END
    ) AS set_anew;
