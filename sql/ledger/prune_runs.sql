-- Delete the runs that began before a moment, and before the last one that published its data: that
-- one's report says how many rows the star has, and whatever came after it says why it is the last.
DELETE FROM runs
WHERE started_at < %(before)s
    AND run_id < (
        SELECT max(kept.run_id)
        FROM runs AS kept
        WHERE kept.status IN ('succeeded', 'succeeded_with_rejects') AND kept.command <> 'verify'
    );
