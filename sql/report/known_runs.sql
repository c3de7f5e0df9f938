-- How many runs are on record, and their first and last numbers.
SELECT count(*) AS runs, min(run_id) AS first, max(run_id) AS last
FROM runs;
