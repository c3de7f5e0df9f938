-- The number of songs, artists and users, and of those with unknown values.
SELECT
    (SELECT count(*) FROM songs) AS songs,
    (SELECT count(*) FROM songs WHERE "year" IS NULL) AS songs_without_year,
    (SELECT count(*) FROM artists) AS artists,
    (SELECT count(*) FROM artists WHERE location IS NULL) AS artists_without_place,
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM users WHERE level = 'paid') AS paid_users;
