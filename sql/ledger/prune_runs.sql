-- Delete the runs that began before a moment, and before the last one that published its data: that
-- one's report says how many rows the star has, and whatever came after it says why it is the last.
-- Numbers say which run is the last: clocks of clients may jump. A replay stays as long as a reject
-- that it settled. Run after prune_rejects.sql.
DELETE FROM runs
WHERE started_at < %(before)s
    AND run_id < (
        SELECT max(kept.run_id)
        FROM runs AS kept
        WHERE kept.status IN ('succeeded', 'succeeded_with_rejects') AND kept.command <> 'verify'
    )
    AND run_id NOT IN (
        SELECT settled.settled_by FROM rejects AS settled WHERE settled.settled_by IS NOT NULL
    );
