-- Compare songs with the content of the files (expected_songs): one row per kind of difference,
-- with the number of differences and a few keys.
SELECT difference, count(*) AS rows, (array_agg(key ORDER BY key))[1:3] AS keys
FROM (
    SELECT
        CASE
            WHEN s.song_id IS NULL THEN 'missing'
            WHEN e.song_id IS NULL THEN 'unknown to the files'
            ELSE 'different'
        END AS difference,
        coalesce(e.song_id, s.song_id)::text AS key
    FROM songs AS s
    FULL JOIN expected_songs AS e
        ON s.song_id = e.song_id
    WHERE
        s.song_id IS NULL
        OR e.song_id IS NULL
        OR (s.title, s.artist_id, s.year, s.duration)
            IS DISTINCT FROM
            (e.title, e.artist_id, e.year, e.duration)
) AS found
GROUP BY difference
ORDER BY difference;
