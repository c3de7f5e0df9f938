-- The rights that the current role lacks to read some schemas, and the statements that grant
-- them. A right on single columns counts as a right on the table: the server itself refuses the
-- other columns.
SELECT lack, statement
FROM (
    SELECT
        1 AS place,
        n.nspname AS name,
        format('USAGE of the schema %%I', n.nspname) AS lack,
        format('GRANT USAGE ON SCHEMA %%I TO %%I;', n.nspname, current_user) AS statement
    FROM pg_namespace AS n
    WHERE n.nspname = ANY (%(schemas)s) AND NOT has_schema_privilege(n.oid, 'USAGE')

    UNION ALL

    SELECT
        2,
        n.nspname,
        format('tables of the schema %%I', n.nspname),
        format(
            'GRANT %%s ON %%s TO %%I;',
            array_to_string(%(privileges)s::text[], ', '),
            string_agg(format('%%I.%%I', n.nspname, t.relname), ', ' ORDER BY t.relname),
            current_user
        )
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = ANY (%(schemas)s)
        AND t.relkind IN ('r', 'p')
        AND EXISTS (
            SELECT FROM unnest(%(privileges)s::text[]) AS p (name)
            WHERE NOT has_table_privilege(t.oid, p.name)
        )
    GROUP BY n.nspname
) AS lacking
ORDER BY place, name;
