-- What the latest loads and reloads read, and how long they took.
SELECT
    coalesce((report #>> '{input,songs,bytes}')::bigint, 0)
    + coalesce((report #>> '{input,events,bytes}')::bigint, 0) AS bytes,
    (report ->> 'seconds')::float8 AS seconds
FROM runs
WHERE status IN ('succeeded', 'succeeded_with_rejects')
    AND command IN ('load', 'reload')
    AND (report ->> 'seconds')::float8 > 0
ORDER BY run_id DESC
LIMIT 50;
