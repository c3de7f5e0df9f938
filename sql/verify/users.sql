-- Compare users with the content of the files (expected_users): one row per kind of difference,
-- with the number of differences and a few keys.
SELECT difference, count(*) AS rows, (array_agg(key ORDER BY key))[1:3] AS keys
FROM (
    SELECT
        CASE
            WHEN s.user_id IS NULL THEN 'missing'
            WHEN e.user_id IS NULL THEN 'unknown to the files'
            ELSE 'different'
        END AS difference,
        coalesce(e.user_id, s.user_id)::text AS key
    FROM users AS s
    FULL JOIN expected_users AS e
        ON s.user_id = e.user_id
    WHERE
        s.user_id IS NULL
        OR e.user_id IS NULL
        OR (s.first_name, s.last_name, s.gender, s.level)
            IS DISTINCT FROM
            (e.first_name, e.last_name, e.gender, e.level)
) AS found
GROUP BY difference
ORDER BY difference;
