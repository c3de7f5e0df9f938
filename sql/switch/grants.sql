-- The statements that give a table's rights, owner and comment to the one that takes its place.
-- Unqualified table names; run what this returns where they mean the new tables.
SELECT statement
FROM (
    SELECT
        1 AS place,
        format(
            'GRANT %%s ON %%I TO %%s%%s', a.privilege_type, t.relname,
            CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        ) AS statement
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    CROSS JOIN LATERAL aclexplode(t.relacl) AS a
    WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s) AND a.grantee <> t.relowner

    UNION ALL

    SELECT
        1,
        format(
            'GRANT %%s (%%I) ON %%I TO %%s%%s', a.privilege_type, c.attname, t.relname,
            CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
            CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        )
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    INNER JOIN pg_attribute AS c ON t.oid = c.attrelid
    CROSS JOIN LATERAL aclexplode(c.attacl) AS a
    WHERE n.nspname = %(schema)s
        AND t.relname = ANY (%(tables)s)
        AND NOT c.attisdropped
        AND a.grantee <> t.relowner

    UNION ALL

    SELECT
        2, format('COMMENT ON TABLE %%I IS %%L', t.relname, obj_description(t.oid, 'pg_class'))
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(schema)s
        AND t.relname = ANY (%(tables)s)
        AND obj_description(t.oid, 'pg_class') IS NOT NULL

    UNION ALL

    SELECT
        2,
        format(
            'COMMENT ON COLUMN %%I.%%I IS %%L', t.relname, c.attname,
            col_description(t.oid, c.attnum)
        )
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    INNER JOIN pg_attribute AS c ON t.oid = c.attrelid
    WHERE n.nspname = %(schema)s
        AND t.relname = ANY (%(tables)s)
        AND col_description(t.oid, c.attnum) IS NOT NULL

    UNION ALL

    SELECT 3, format('ALTER TABLE %%I OWNER TO %%I', t.relname, pg_get_userbyid(t.relowner))
    FROM pg_class AS t
    INNER JOIN pg_namespace AS n ON t.relnamespace = n.oid
    WHERE n.nspname = %(schema)s
        AND t.relname = ANY (%(tables)s)
        AND pg_get_userbyid(t.relowner) <> current_user
) AS carried
ORDER BY place, statement;
