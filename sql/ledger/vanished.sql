-- Ledger: files that are recorded but gone, and that a load has warned of; each is warned of
-- once.
-- Key: (kind, root_id, digest), where digest is that of the name: an index entry holds some
-- 2,700 bytes, and a path may be longer.
CREATE TABLE IF NOT EXISTS vanished (
    kind    text NOT NULL,
    root_id bigint NOT NULL,
    file    text COLLATE "C" NOT NULL,
    digest  bytea NOT NULL,
    PRIMARY KEY (kind, root_id, digest)
);
