-- Delete the rejects of the runs that prune_runs.sql deletes.
WITH old AS (
    SELECT run_id
    FROM runs
    WHERE started_at < %(before)s
        AND run_id < (
            SELECT max(kept.run_id)
            FROM runs AS kept
            WHERE kept.status IN ('succeeded', 'succeeded_with_rejects')
                AND kept.command <> 'verify'
        )
)

DELETE FROM rejects
WHERE run_id IN (SELECT old.run_id FROM old)
    AND run_id NOT IN (
        SELECT resolved.settled_by
        FROM rejects AS resolved
        WHERE resolved.settled_by IS NOT NULL
            AND resolved.run_id NOT IN (SELECT old.run_id FROM old)
    );
