-- The last run that published its data; its report has the number of rows of the star.
SELECT run_id, started_at, report, table_states
FROM runs
WHERE status IN ('succeeded', 'succeeded_with_rejects') AND command <> 'verify'
ORDER BY run_id DESC
LIMIT 1;
