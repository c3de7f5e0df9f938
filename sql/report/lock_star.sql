-- Hold the star's tables as they are until the transaction ends. It must come before the first query:
-- a transaction that finds its moment first, and the tables after a reload's switch, finds them empty.
LOCK TABLE songplays, users, songs, artists IN ACCESS SHARE MODE;
