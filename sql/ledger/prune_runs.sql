-- Delete the runs that began before a moment, and before the last one that published its data:
-- the report of that one has the number of rows of the star, and the runs after it show why it
-- is the last. Run numbers decide which run is the last, since clocks of clients may jump. A
-- replay is kept as long as a reject that it resolved. Run after prune_rejects.sql.
DELETE FROM runs
WHERE started_at < %(before)s
    AND run_id < (
        SELECT max(kept.run_id)
        FROM runs AS kept
        WHERE kept.status IN ('succeeded', 'succeeded_with_rejects') AND kept.command <> 'verify'
    )
    AND run_id NOT IN (
        SELECT resolved.settled_by FROM rejects AS resolved WHERE resolved.settled_by IS NOT NULL
    );
