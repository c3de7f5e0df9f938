-- The number of staged rows, to be compared with the number of rows sent: a crash of the server,
-- or of one of its processes, empties unlogged tables without an error.
SELECT
    (SELECT count(*) FROM staged_songs) AS staged_songs,
    (SELECT count(*) FROM staged_songplays) AS staged_songplays,
    (SELECT count(*) FROM staged_users) AS staged_users,
    (SELECT count(*) FROM staged_time) AS staged_time,
    (SELECT count(*) FROM staged_rejects) AS staged_rejects,
    (SELECT count(*) FROM staged_files) AS staged_files;
