-- The tables that stand in schemas where only a run at work has any.
SELECT n.nspname, t.relname, pg_table_size(t.oid)
FROM pg_class AS t
INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
WHERE n.nspname = ANY (%(schemas)s) AND t.relkind IN ('r', 'p')
ORDER BY n.nspname, t.relname;
