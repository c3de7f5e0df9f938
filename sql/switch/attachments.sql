-- Everything that depends on the tables of a star or was set on them, that is, all that new
-- tables in their place would lack; also what a plain star has by itself. Nothing else can be
-- lost by a switch.
--   table_name  the table of the star
--   kind, name  what it is, by names without the star's own schemas, which must be on the search path
--   definition  its definition, comparable between an old star and a new one
--   fate        'carried'  `statement` makes it so on a new table, whose schema must be on the search path
--               'moved'    the same, but only once the new table is in the old one's place
--               'follows'  a view, which switch/views recreates
--               'dropped'  a temporary object of another session: it can't be kept
--               'own'      a new table has it, too, or can't have it
--               'refused'  it can't be carried over
--   grantor     who granted it, for grants by others than the owner
-- The last part finds everything else that depends on the tables, their row types, indexes,
-- constraints or sequences.
WITH old AS (
    SELECT
        t.oid, t.relname, t.relowner, t.relnamespace, t.reltype, t.relacl, t.reloptions,
        t.reltoastrelid, t.reltablespace, t.relpersistence, t.relam, t.reloftype, t.relreplident,
        t.relrowsecurity, t.relforcerowsecurity, t.relispartition,
        pg_get_userbyid(t.relowner) AS owner
    FROM unnest(%(schemas)s::text[], %(tables)s::text[]) AS o (schema, name)
    INNER JOIN pg_namespace AS n ON o.schema = n.nspname
    INNER JOIN pg_class AS t ON n.oid = t.relnamespace AND o.name = t.relname
    WHERE t.relkind = 'r'
),

columns AS (
    SELECT t.relname, t.owner, t.relowner, a.*
    FROM old AS t
    INNER JOIN pg_attribute AS a ON t.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
),

constraints AS (
    SELECT t.relname, c.*
    FROM old AS t
    INNER JOIN pg_constraint AS c ON t.oid = c.conrelid
    WHERE c.contype IN ('c', 'u', 'p', 'x', 'f', 'n')
),

indexes AS (
    SELECT
        t.relname, i.indexrelid, i.indisvalid, i.indisclustered, i.indisreplident,
        x.relname AS index_name, x.reltablespace, x.reloptions,
        EXISTS (SELECT FROM constraints AS c WHERE c.conindid = i.indexrelid) AS of_constraint
    FROM old AS t
    INNER JOIN pg_index AS i ON t.oid = i.indrelid
    INNER JOIN pg_class AS x ON i.indexrelid = x.oid
),

sequences AS (
    SELECT t.relname, t.owner, t.relowner, s.oid, s.relname AS sequence_name, s.relacl, d.refobjsubid
    FROM old AS t
    INNER JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
    INNER JOIN pg_class AS s ON d.classid = 'pg_class'::regclass AND d.objid = s.oid
    WHERE s.relkind = 'S' AND d.deptype = 'i'
),

statistics AS (
    SELECT t.relname, n.nspname, s.*
    FROM old AS t
    INNER JOIN pg_statistic_ext AS s ON t.oid = s.stxrelid
    INNER JOIN pg_namespace AS n ON s.stxnamespace = n.oid
),

grants AS (
    SELECT
        t.relname, '' AS on_column, 'TABLE' AS what, t.relname AS object, t.relowner, a.*
    FROM old AS t
    CROSS JOIN LATERAL aclexplode(coalesce(t.relacl, acldefault('r', t.relowner)))
        WITH ORDINALITY AS a

    UNION ALL

    SELECT c.relname, c.attname, 'TABLE', c.relname, c.relowner, a.*
    FROM columns AS c
    CROSS JOIN LATERAL aclexplode(c.attacl) WITH ORDINALITY AS a

    UNION ALL

    SELECT s.relname, '', 'SEQUENCE', s.sequence_name, s.relowner, a.*
    FROM sequences AS s
    CROSS JOIN LATERAL aclexplode(coalesce(s.relacl, acldefault('s', s.relowner)))
        WITH ORDINALITY AS a
),

targets AS (
    SELECT 'pg_class'::regclass AS classid, oid, relname
    FROM old

    UNION ALL

    SELECT 'pg_type'::regclass, reltype, relname
    FROM old

    UNION ALL

    SELECT 'pg_type'::regclass, y.typarray, t.relname
    FROM old AS t
    INNER JOIN pg_type AS y ON t.reltype = y.oid

    UNION ALL

    SELECT 'pg_class'::regclass, indexrelid, relname
    FROM indexes

    UNION ALL

    SELECT 'pg_class'::regclass, oid, relname
    FROM sequences

    UNION ALL

    SELECT 'pg_constraint'::regclass, c.oid, t.relname
    FROM old AS t
    INNER JOIN pg_constraint AS c ON t.oid = c.conrelid
),

dependents AS (
    SELECT t.relname, d.classid, d.objid, d.objsubid
    FROM targets AS t
    INNER JOIN pg_depend AS d ON t.classid = d.refclassid AND t.oid = d.refobjid
    WHERE (d.classid, d.objid) NOT IN (SELECT classid, oid FROM targets)
),

found AS (
    -- What was set on a table as a whole.
    SELECT
        t.relname, 'owner' AS kind, 'owner of ' || t.relname AS name, t.owner::text AS definition,
        'moved' AS fate, format('ALTER TABLE %%I OWNER TO %%I', t.relname, t.owner) AS statement,
        NULL::text AS grantor
    FROM old AS t

    UNION ALL

    SELECT
        g.relname,
        CASE
            WHEN g.on_column <> '' THEN 'column grant'
            WHEN g.what = 'SEQUENCE' THEN 'sequence grant'
            ELSE 'grant'
        END,
        format(
            '%%s%%s on %%s to %%s', g.privilege_type,
            CASE WHEN g.on_column <> '' THEN format(' (%%I)', g.on_column) ELSE '' END, g.object,
            CASE
                WHEN g.grantee = 0 THEN 'PUBLIC'
                WHEN g.grantee = g.relowner THEN 'its owner'
                ELSE quote_ident(pg_get_userbyid(g.grantee))
            END
        )
        || CASE WHEN g.grantor <> g.relowner THEN ' by ' || pg_get_userbyid(g.grantor) ELSE '' END,
        -- In this order one may pass on what one has been granted before.
        to_char(g.ordinality, 'FM0000')
        || CASE WHEN g.is_grantable THEN ' with grant option' ELSE '' END,
        'moved',
        format(
            'GRANT %%s%%s ON %%s %%I TO %%s%%s', g.privilege_type,
            CASE WHEN g.on_column <> '' THEN format(' (%%I)', g.on_column) ELSE '' END,
            g.what, g.object,
            CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
            CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        ),
        CASE WHEN g.grantor <> g.relowner THEN pg_get_userbyid(g.grantor) END
    FROM grants AS g

    UNION ALL

    SELECT
        t.relname, 'row security', 'row security of ' || t.relname,
        CASE WHEN t.relrowsecurity THEN 'enabled' ELSE 'disabled' END
        || CASE WHEN t.relforcerowsecurity THEN ', forced' ELSE '' END,
        'moved',
        format(
            'ALTER TABLE %%I %%s ROW LEVEL SECURITY, %%s ROW LEVEL SECURITY', t.relname,
            CASE WHEN t.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END,
            CASE WHEN t.relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END
        ),
        NULL
    FROM old AS t

    UNION ALL

    SELECT
        t.relname, 'storage parameter', format('storage parameter %%s of %%s', p.name, t.relname),
        p.value, 'carried', format('ALTER TABLE %%I SET (%%s = %%L)', t.relname, p.name, p.value),
        NULL
    FROM old AS t
    LEFT JOIN pg_class AS x ON t.reltoastrelid = x.oid
    CROSS JOIN LATERAL (
        SELECT split_part(o, '=', 1) AS name, substr(o, strpos(o, '=') + 1) AS value
        FROM unnest(t.reloptions) AS o

        UNION ALL

        SELECT 'toast.' || split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)
        FROM unnest(x.reloptions) AS o
    ) AS p

    UNION ALL

    SELECT
        t.relname, 'tablespace', 'tablespace of ' || t.relname, s.spcname, 'carried',
        format('ALTER TABLE %%I SET TABLESPACE %%I', t.relname, s.spcname), NULL
    FROM old AS t
    INNER JOIN pg_database AS d ON d.datname = current_database()
    INNER JOIN pg_tablespace AS s ON s.oid = coalesce(nullif(t.reltablespace, 0), d.dattablespace)

    UNION ALL

    SELECT
        t.relname, 'replica identity', 'replica identity of ' || t.relname,
        CASE t.relreplident
            WHEN 'd' THEN 'DEFAULT'
            WHEN 'f' THEN 'FULL'
            WHEN 'n' THEN 'NOTHING'
            ELSE 'USING INDEX ' || coalesce(quote_ident(x.index_name), '')
        END,
        'carried',
        format(
            'ALTER TABLE %%I REPLICA IDENTITY %%s', t.relname,
            CASE t.relreplident
                WHEN 'd' THEN 'DEFAULT'
                WHEN 'f' THEN 'FULL'
                WHEN 'n' THEN 'NOTHING'
                ELSE 'USING INDEX ' || quote_ident(x.index_name)
            END
        ),
        NULL
    FROM old AS t
    LEFT JOIN indexes AS x ON t.relname = x.relname AND x.indisreplident

    UNION ALL

    SELECT
        t.relname, 'persistence', 'unlogged storage of ' || t.relname, '', 'refused', NULL, NULL
    FROM old AS t
    WHERE t.relpersistence <> 'p'

    UNION ALL

    SELECT
        t.relname, 'access method', format('access method %%s of %%s', m.amname, t.relname),
        m.amname, 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_am AS m ON t.relam = m.oid
    WHERE m.amname <> 'heap'

    UNION ALL

    SELECT
        t.relname, 'type', format('type %%s of the table %%s', t.reloftype::regtype, t.relname), '',
        'refused', NULL, NULL
    FROM old AS t
    WHERE t.reloftype <> 0

    UNION ALL

    SELECT
        t.relname, 'inheritance',
        format(
            CASE
                WHEN t.relispartition THEN '%%s, which is a partition of %%s'
                ELSE '%%s, which inherits from %%s'
            END, t.relname, i.inhparent::regclass
        ),
        '', 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_inherits AS i ON t.oid = i.inhrelid

    UNION ALL

    SELECT
        t.relname, 'inheritance',
        format('table %%s, which inherits from %%s', i.inhrelid::regclass, t.relname), '',
        'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_inherits AS i ON t.oid = i.inhparent

    UNION ALL

    SELECT
        t.relname, 'extension', format('extension %%s, of which %%s is a part', e.extname, t.relname),
        '', 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND t.oid = d.objid
    INNER JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE d.deptype IN ('e', 'x')

    UNION ALL

    SELECT
        t.relname, 'security label',
        format(
            'security label by %%s on %%s', l.provider, pg_describe_object(l.classoid, l.objoid, l.objsubid)
        ),
        l.label, 'refused', NULL, NULL
    FROM targets AS t
    INNER JOIN pg_seclabel AS l ON t.classid = l.classoid AND t.oid = l.objoid

    UNION ALL

    -- Columns.
    SELECT
        c.relname, 'column', format('column %%s of %%s', c.attname, c.relname),
        format_type(c.atttypid, c.atttypmod)
        || CASE WHEN c.attcollation <> y.typcollation THEN format(' COLLATE %%I', o.collname) ELSE '' END
        || CASE WHEN c.attidentity <> '' THEN ' IDENTITY ' || c.attidentity::text ELSE '' END
        || CASE
            WHEN c.attgenerated <> ''
                THEN format(' GENERATED %%s %%s', c.attgenerated, pg_get_expr(f.adbin, f.adrelid))
            ELSE ''
        END,
        'own', NULL, NULL
    FROM columns AS c
    INNER JOIN pg_type AS y ON c.atttypid = y.oid
    LEFT JOIN pg_collation AS o ON c.attcollation = o.oid
    LEFT JOIN pg_attrdef AS f ON c.attrelid = f.adrelid AND c.attnum = f.adnum

    UNION ALL

    SELECT
        c.relname, 'column property', format('%%s of column %%s of %%s', p.name, c.attname, c.relname),
        p.definition, 'carried',
        format('ALTER TABLE %%I ALTER COLUMN %%I %%s', c.relname, c.attname, p.statement), NULL
    FROM columns AS c
    INNER JOIN pg_type AS y ON c.atttypid = y.oid
    LEFT JOIN pg_attrdef AS f ON c.attrelid = f.adrelid AND c.attnum = f.adnum
    CROSS JOIN LATERAL (
        SELECT 'NOT NULL' AS name, '' AS definition, 'SET NOT NULL' AS statement
        WHERE c.attnotnull
            -- From PostgreSQL 18 on it is a constraint, with a name.
            AND NOT EXISTS (
                SELECT
                FROM constraints AS n
                WHERE n.contype = 'n' AND n.conrelid = c.attrelid AND n.conkey = ARRAY[c.attnum]
            )

        UNION ALL

        SELECT 'default', pg_get_expr(f.adbin, f.adrelid), 'SET DEFAULT ' || pg_get_expr(f.adbin, f.adrelid)
        WHERE c.atthasdef AND c.attgenerated = ''

        UNION ALL

        SELECT 'statistics target', c.attstattarget::text, 'SET STATISTICS ' || c.attstattarget
        WHERE c.attstattarget >= 0

        UNION ALL

        SELECT
            'storage', s.name, 'SET STORAGE ' || s.name
        FROM (
            VALUES ('p', 'PLAIN'), ('e', 'EXTERNAL'), ('m', 'MAIN'), ('x', 'EXTENDED')
        ) AS s (code, name)
        WHERE s.code = c.attstorage::text AND c.attstorage <> y.typstorage

        UNION ALL

        SELECT 'compression', m.name, 'SET COMPRESSION ' || m.name
        FROM (VALUES ('p', 'pglz'), ('l', 'lz4')) AS m (code, name)
        WHERE m.code = c.attcompression::text

        UNION ALL

        SELECT
            split_part(o, '=', 1), split_part(o, '=', 2),
            format('SET (%%s = %%L)', split_part(o, '=', 1), split_part(o, '=', 2))
        FROM unnest(c.attoptions) AS o
        -- Some servers keep others there, for themselves.
        WHERE split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited')
    ) AS p

    UNION ALL

    SELECT
        s.relname, 'sequence', format('sequence %%s of %%s', s.sequence_name, s.relname),
        format(
            '%%s START %%s INCREMENT %%s MINVALUE %%s MAXVALUE %%s CACHE %%s %%s', q.seqtypid::regtype,
            q.seqstart, q.seqincrement, q.seqmin, q.seqmax, q.seqcache, q.seqcycle
        ),
        'own', NULL, NULL
    FROM sequences AS s
    INNER JOIN pg_sequence AS q ON s.oid = q.seqrelid

    UNION ALL

    -- Indexes, constraints, statistics.
    SELECT
        x.relname, 'index', format('index %%s of %%s', x.index_name, x.relname),
        CASE WHEN x.indisvalid THEN '' ELSE 'invalid ' END || pg_get_indexdef(x.indexrelid, 0, true),
        CASE WHEN x.indisvalid THEN 'carried' ELSE 'refused' END,
        CASE WHEN x.indisvalid THEN pg_get_indexdef(x.indexrelid, 0, true) END, NULL
    FROM indexes AS x
    WHERE NOT x.of_constraint

    UNION ALL

    SELECT
        c.relname, 'constraint', format('constraint %%s of %%s', c.conname, c.relname),
        pg_get_constraintdef(c.oid, true), 'carried',
        format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', c.relname, c.conname, pg_get_constraintdef(c.oid, true)),
        NULL
    FROM constraints AS c
    WHERE c.contype <> 'f' OR c.confrelid IN (SELECT oid FROM old)

    UNION ALL

    SELECT
        c.relname, 'constraint', format('foreign key %%s of %%s', c.conname, c.relname),
        pg_get_constraintdef(c.oid, true), 'refused', NULL, NULL
    FROM constraints AS c
    WHERE c.contype = 'f' AND c.confrelid NOT IN (SELECT oid FROM old)

    UNION ALL

    SELECT
        x.relname, 'index property', format('%%s of index %%s of %%s', p.name, x.index_name, x.relname),
        p.definition, 'carried', p.statement, NULL
    FROM indexes AS x
    INNER JOIN pg_database AS d ON d.datname = current_database()
    CROSS JOIN LATERAL (
        SELECT
            'tablespace' AS name, s.spcname AS definition,
            format('ALTER INDEX %%I SET TABLESPACE %%I', x.index_name, s.spcname) AS statement
        FROM pg_tablespace AS s
        WHERE s.oid = coalesce(nullif(x.reltablespace, 0), d.dattablespace)

        UNION ALL

        SELECT 'clustering', '', format('ALTER TABLE %%I CLUSTER ON %%I', x.relname, x.index_name)
        WHERE x.indisclustered

        UNION ALL

        -- The definition of an index has them, that of a constraint has not.
        SELECT
            'storage parameter ' || split_part(o, '=', 1), substr(o, strpos(o, '=') + 1),
            format(
                'ALTER INDEX %%I SET (%%s = %%L)', x.index_name, split_part(o, '=', 1),
                substr(o, strpos(o, '=') + 1)
            )
        FROM unnest(x.reloptions) AS o
        WHERE x.of_constraint

        UNION ALL

        SELECT
            'statistics target ' || a.attnum, a.attstattarget::text,
            format('ALTER INDEX %%I ALTER COLUMN %%s SET STATISTICS %%s', x.index_name, a.attnum, a.attstattarget)
        FROM pg_attribute AS a
        WHERE a.attrelid = x.indexrelid AND a.attstattarget >= 0
    ) AS p

    UNION ALL

    SELECT
        s.relname, 'statistics', format('statistics %%s of %%s', s.stxname, s.relname),
        pg_get_statisticsobjdef(s.oid), 'moved', pg_get_statisticsobjdef(s.oid), NULL
    FROM statistics AS s

    UNION ALL

    SELECT
        s.relname, 'statistics property', format('%%s of statistics %%s of %%s', p.name, s.stxname, s.relname),
        p.definition, 'moved', p.statement, NULL
    FROM statistics AS s
    CROSS JOIN LATERAL (
        SELECT
            'owner' AS name, pg_get_userbyid(s.stxowner)::text AS definition,
            format('ALTER STATISTICS %%I.%%I OWNER TO %%I', s.nspname, s.stxname, pg_get_userbyid(s.stxowner)) AS statement

        UNION ALL

        SELECT
            'target', s.stxstattarget::text,
            format('ALTER STATISTICS %%I.%%I SET STATISTICS %%s', s.nspname, s.stxname, s.stxstattarget)
        WHERE s.stxstattarget >= 0

        UNION ALL

        SELECT
            'comment', obj_description(s.oid, 'pg_statistic_ext'),
            format('COMMENT ON STATISTICS %%I.%%I IS %%L', s.nspname, s.stxname, obj_description(s.oid, 'pg_statistic_ext'))
        WHERE obj_description(s.oid, 'pg_statistic_ext') IS NOT NULL
    ) AS p

    UNION ALL

    -- Comments.
    SELECT
        t.relname, 'comment', 'comment on ' || t.relname, obj_description(t.oid, 'pg_class'), 'carried',
        format('COMMENT ON TABLE %%I IS %%L', t.relname, obj_description(t.oid, 'pg_class')), NULL
    FROM old AS t
    WHERE obj_description(t.oid, 'pg_class') IS NOT NULL

    UNION ALL

    SELECT
        c.relname, 'comment', format('comment on column %%s of %%s', c.attname, c.relname),
        col_description(c.attrelid, c.attnum), 'carried',
        format('COMMENT ON COLUMN %%I.%%I IS %%L', c.relname, c.attname, col_description(c.attrelid, c.attnum)),
        NULL
    FROM columns AS c
    WHERE col_description(c.attrelid, c.attnum) IS NOT NULL

    UNION ALL

    SELECT
        c.relname, 'comment', format('comment on constraint %%s of %%s', c.conname, c.relname),
        obj_description(c.oid, 'pg_constraint'), 'carried',
        format('COMMENT ON CONSTRAINT %%I ON %%I IS %%L', c.conname, c.relname, obj_description(c.oid, 'pg_constraint')),
        NULL
    FROM constraints AS c
    WHERE obj_description(c.oid, 'pg_constraint') IS NOT NULL

    UNION ALL

    SELECT
        x.relname, 'comment', format('comment on index %%s of %%s', x.index_name, x.relname),
        obj_description(x.indexrelid, 'pg_class'), 'carried',
        format('COMMENT ON INDEX %%I IS %%L', x.index_name, obj_description(x.indexrelid, 'pg_class')), NULL
    FROM indexes AS x
    WHERE obj_description(x.indexrelid, 'pg_class') IS NOT NULL

    UNION ALL

    SELECT
        s.relname, 'comment', format('comment on sequence %%s of %%s', s.sequence_name, s.relname),
        obj_description(s.oid, 'pg_class'), 'carried',
        format('COMMENT ON SEQUENCE %%I IS %%L', s.sequence_name, obj_description(s.oid, 'pg_class')), NULL
    FROM sequences AS s
    WHERE obj_description(s.oid, 'pg_class') IS NOT NULL

    UNION ALL

    -- What acts on the tables.
    SELECT
        t.relname, 'rule', format('rule %%s of %%s', r.rulename, t.relname), pg_get_ruledef(r.oid), 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_rewrite AS r ON t.oid = r.ev_class

    UNION ALL

    SELECT
        t.relname, 'trigger', format('trigger %%s of %%s', g.tgname, t.relname), pg_get_triggerdef(g.oid), 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_trigger AS g ON t.oid = g.tgrelid
    WHERE NOT g.tgisinternal

    UNION ALL

    SELECT
        t.relname, 'trigger', format('disabled checks of %%s on %%s', coalesce(c.conname, g.tgname), t.relname),
        g.tgenabled::text, 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_trigger AS g ON t.oid = g.tgrelid
    LEFT JOIN pg_constraint AS c ON g.tgconstraint = c.oid
    WHERE g.tgisinternal AND g.tgenabled <> 'O'

    UNION ALL

    SELECT
        t.relname, 'policy', format('policy %%s of %%s', p.polname, t.relname), '', 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_policy AS p ON t.oid = p.polrelid

    UNION ALL

    SELECT
        t.relname, 'publication', format('publication %%s of %%s', p.pubname, t.relname), '', 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_publication_rel AS r ON t.oid = r.prrelid
    INNER JOIN pg_publication AS p ON r.prpubid = p.oid

    UNION ALL

    SELECT
        t.relname, 'publication', format('publication %%s of the schema of %%s', p.pubname, t.relname), '',
        'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_publication_namespace AS r ON t.relnamespace = r.pnnspid
    INNER JOIN pg_publication AS p ON r.pnpubid = p.oid

    UNION ALL

    SELECT
        t.relname, 'subscription', format('subscription %%s of %%s', s.subname, t.relname), '', 'refused', NULL, NULL
    FROM old AS t
    INNER JOIN pg_subscription_rel AS r ON t.oid = r.srrelid
    INNER JOIN pg_subscription AS s ON r.srsubid = s.oid

    UNION ALL

    -- What depends on them.
    SELECT
        d.relname, 'view', 'view ' || v.oid::regclass::text, pg_get_viewdef(v.oid),
        CASE WHEN v.relpersistence = 't' THEN 'dropped' ELSE 'follows' END, NULL, NULL
    FROM dependents AS d
    INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    INNER JOIN pg_class AS v ON r.ev_class = v.oid
    WHERE v.relkind = 'v' AND r.rulename = '_RETURN'

    UNION ALL

    SELECT
        d.relname, 'dependent',
        CASE
            WHEN v.relkind = 'm' THEN 'materialized view ' || v.oid::regclass::text
            ELSE format('rule %%s of %%s', r.rulename, v.oid::regclass)
        END,
        '', CASE WHEN v.relpersistence = 't' THEN 'dropped' ELSE 'refused' END, NULL, NULL
    FROM dependents AS d
    INNER JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    INNER JOIN pg_class AS v ON r.ev_class = v.oid
    WHERE v.oid NOT IN (SELECT oid FROM old) AND (v.relkind <> 'v' OR r.rulename <> '_RETURN')

    UNION ALL

    SELECT
        d.relname, 'dependent', format('foreign key %%s of %%s', c.conname, c.conrelid::regclass),
        pg_get_constraintdef(c.oid), 'refused', NULL, NULL
    FROM dependents AS d
    INNER JOIN pg_constraint AS c ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
    WHERE c.contype = 'f'

    UNION ALL

    SELECT
        d.relname, 'dependent', format('column %%s of %%s', a.attname, a.attrelid::regclass), '',
        CASE WHEN x.relpersistence = 't' THEN 'dropped' ELSE 'refused' END, NULL, NULL
    FROM dependents AS d
    INNER JOIN pg_attribute AS a ON d.objid = a.attrelid AND d.objsubid = a.attnum
    INNER JOIN pg_class AS x ON a.attrelid = x.oid
    WHERE d.classid = 'pg_class'::regclass AND d.objsubid <> 0

    UNION ALL

    SELECT
        d.relname, 'dependent', 'sequence ' || s.oid::regclass::text, '', 'refused', NULL, NULL
    FROM dependents AS d
    INNER JOIN pg_class AS s ON d.objid = s.oid
    WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 AND s.relkind = 'S'

    UNION ALL

    SELECT
        d.relname, 'dependent', pg_describe_object(d.classid, d.objid, d.objsubid), '', 'refused', NULL, NULL
    FROM dependents AS d
    WHERE (
        d.classid <> ALL (
            ARRAY[
                'pg_rewrite', 'pg_class', 'pg_attrdef', 'pg_trigger', 'pg_policy',
                'pg_statistic_ext', 'pg_publication_rel', 'pg_constraint'
            ]::regclass[]
        )
        OR (
            d.classid = 'pg_constraint'::regclass
            AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.oid = d.objid AND c.contype = 'f')
        )
        OR (
            d.classid = 'pg_attrdef'::regclass
            AND NOT EXISTS (
                SELECT FROM pg_attrdef AS f WHERE f.oid = d.objid AND f.adrelid IN (SELECT oid FROM old)
            )
        )
        OR (
            d.classid = 'pg_policy'::regclass
            AND NOT EXISTS (
                SELECT FROM pg_policy AS p WHERE p.oid = d.objid AND p.polrelid IN (SELECT oid FROM old)
            )
        )
        OR (
            d.classid = 'pg_trigger'::regclass
            AND NOT EXISTS (
                SELECT
                FROM pg_trigger AS g
                WHERE g.oid = d.objid AND (g.tgisinternal OR g.tgrelid IN (SELECT oid FROM old))
            )
        )
    )
)

SELECT DISTINCT relname AS table_name, kind, name, definition, fate, statement, grantor
FROM found
ORDER BY table_name, kind, name;
