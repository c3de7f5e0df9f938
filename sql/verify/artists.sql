-- Compare artists with the content of the files (expected_artists): one row per kind of
-- difference, with the number of differences and a few keys.
SELECT difference, count(*) AS rows, (array_agg(key ORDER BY key))[1:3] AS keys
FROM (
    SELECT
        CASE
            WHEN s.artist_id IS NULL THEN 'missing'
            WHEN e.artist_id IS NULL THEN 'unknown to the files'
            ELSE 'different'
        END AS difference,
        coalesce(e.artist_id, s.artist_id)::text AS key
    FROM artists AS s
    FULL JOIN expected_artists AS e
        ON s.artist_id = e.artist_id
    WHERE
        s.artist_id IS NULL
        OR e.artist_id IS NULL
        OR (s.name, s.location, s.latitude, s.longitude)
            IS DISTINCT FROM
            (e.name, e.location, e.latitude, e.longitude)
) AS found
GROUP BY difference
ORDER BY difference;
