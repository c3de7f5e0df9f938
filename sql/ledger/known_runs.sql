-- The number of recorded runs, and their first and last numbers.
SELECT count(*) AS runs, min(run_id) AS first, max(run_id) AS last
FROM runs;
