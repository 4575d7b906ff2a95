-- Several relays on one database; PostgreSQL only, empty elsewhere. A relay that does not know these tables goes on to
-- work: nothing that it uses has changed.

CREATE TABLE replicas (
    id          TEXT   NOT NULL PRIMARY KEY,
    lease_until BIGINT NOT NULL, -- by the database's clock
    share       BIGINT NOT NULL, -- of DOLLR_RATE, in millionths
    down        BIGINT NOT NULL, -- it cannot reach Dollr
    held_until  BIGINT NOT NULL  -- a 429 that it got holds every call
);

-- Who watches which payments; a slot is substr(payments.id, 5, 2).
CREATE TABLE slots (
    slot  TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL
);

-- What only one replica knows of a payment and others need, as long as its lease holds.
CREATE TABLE presence (
    payment_id TEXT   NOT NULL,
    replica    TEXT   NOT NULL,
    pages      BIGINT NOT NULL, -- checkout pages are open there
    live       BIGINT NOT NULL, -- realtime is proven there
    PRIMARY KEY (payment_id, replica)
);
