-- The rights needed by runs that the current role lacks, and the statements that grant them.
-- Members of a role that owns a table have the rights of the owner.
SELECT lack, statement
FROM (
    SELECT
        1 AS place,
        '' AS name,
        format('TEMPORARY on the database %%I', current_database()) AS lack,
        format('GRANT TEMPORARY ON DATABASE %%I TO %%I;', current_database(), current_user)
            AS statement
    WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')

    UNION ALL

    SELECT
        2,
        s.name,
        format('the schema %%I', s.name),
        format('CREATE SCHEMA %%I AUTHORIZATION %%I;', s.name, current_user)
    FROM unnest(%(schemas)s::text[]) AS s (name)
    WHERE NOT has_database_privilege(current_database(), 'CREATE')
        AND NOT EXISTS (SELECT FROM pg_namespace AS n WHERE n.nspname = s.name)

    UNION ALL

    SELECT
        3,
        n.nspname,
        format('USAGE and CREATE in the schema %%I', n.nspname),
        format('GRANT USAGE, CREATE ON SCHEMA %%I TO %%I;', n.nspname, current_user)
    FROM pg_namespace AS n
    WHERE n.nspname = ANY (%(schemas)s)
        AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'))

    UNION ALL

    SELECT
        4,
        format('%%I.%%I', n.nspname, t.relname),
        format('the ownership of %%I.%%I', n.nspname, t.relname),
        format('ALTER TABLE %%I.%%I OWNER TO %%I;', n.nspname, t.relname, current_user)
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = ANY (%(schemas)s)
        AND t.relkind IN ('r', 'p')
        AND CASE
            WHEN n.nspname = %(star)s THEN t.relname = ANY (%(tables)s)
            ELSE strpos(obj_description(t.oid, 'pg_class'), %(mark)s) > 0
        END
        AND NOT pg_has_role(t.relowner, 'USAGE')
) AS lacking
ORDER BY place, name;
