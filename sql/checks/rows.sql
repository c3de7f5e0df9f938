-- The number of rows of each table of the star.
SELECT
    (SELECT count(*) FROM artists) AS artists,
    (SELECT count(*) FROM songs) AS songs,
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM "time") AS "time",
    (SELECT count(*) FROM songplays) AS songplays;
