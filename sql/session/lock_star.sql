-- Lock the star's tables against changes until the transaction ends. This must come before the
-- first query: a transaction that takes its snapshot before a reload's switch, and opens the
-- tables after it, finds them empty.
LOCK TABLE songplays, users, songs, artists IN ACCESS SHARE MODE;
