-- Delete the rejects of the runs that prune_runs.sql deletes.
DELETE FROM rejects
WHERE run_id IN (
    SELECT old.run_id
    FROM runs AS old
    WHERE old.started_at < %(before)s
        AND old.run_id < (
            SELECT max(kept.run_id)
            FROM runs AS kept
            WHERE kept.status IN ('succeeded', 'succeeded_with_rejects')
                AND kept.command <> 'verify'
        )
);
