-- The tables of runs in the staging and build schemas, with their sizes: those with the
-- program's mark and a name that it uses.
SELECT n.nspname, t.relname, pg_table_size(t.oid)
FROM pg_class AS t
INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
WHERE n.nspname = ANY (%(schemas)s)
    AND t.relkind = 'r'
    AND t.relname ~ %(pattern)s
    AND strpos(obj_description(t.oid, 'pg_class'), %(mark)s) > 0
ORDER BY n.nspname, t.relname;
