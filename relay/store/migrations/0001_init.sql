-- Times are Unix milliseconds, 0 for none; absent texts are ''. The same statements serve SQLite and
-- PostgreSQL; {{ID}} is the engine's identity column.

CREATE TABLE payments (
    seq              {{ID}},
    id               TEXT   NOT NULL UNIQUE,
    revision         BIGINT NOT NULL,
    operation        TEXT   NOT NULL,
    reference_id     TEXT   NOT NULL,
    session_id       BIGINT NOT NULL,
    source_type      TEXT   NOT NULL,
    source_id        BIGINT NOT NULL,
    expected         TEXT   NOT NULL,
    callback_url     TEXT   NOT NULL,
    metadata         TEXT   NOT NULL,
    status           TEXT   NOT NULL,
    outcome          TEXT   NOT NULL,
    late             BIGINT NOT NULL,
    previous_outcome TEXT   NOT NULL,
    contradicted     BIGINT NOT NULL,
    amounts          TEXT   NOT NULL,
    version          BIGINT NOT NULL,
    via              TEXT   NOT NULL,
    hint_status      TEXT   NOT NULL,
    hint_at          BIGINT NOT NULL,
    last_seen        TEXT   NOT NULL,
    last_error       TEXT   NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    watch_since      BIGINT NOT NULL,
    watch_until      BIGINT NOT NULL,
    verified_at      BIGINT NOT NULL,
    final_at         BIGINT NOT NULL,
    last_checked_at  BIGINT NOT NULL,
    truth_at         BIGINT NOT NULL,
    put_off_since    BIGINT NOT NULL,
    reopened_until   BIGINT NOT NULL
);
CREATE INDEX payments_open ON payments (id) WHERE outcome = 'pending';
CREATE INDEX payments_final ON payments (final_at) WHERE outcome <> 'pending';
CREATE INDEX payments_outcome ON payments (outcome, seq);
CREATE INDEX payments_reference ON payments (reference_id) WHERE reference_id <> '';
CREATE INDEX payments_source ON payments (source_type, source_id) WHERE source_id <> 0 AND outcome = 'succeeded';

-- The timeline: append only.
CREATE TABLE events (
    seq        {{ID}},
    payment_id TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    via        TEXT   NOT NULL,
    status     TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    version    BIGINT NOT NULL,
    detail     TEXT   NOT NULL
);
CREATE INDEX events_payment ON events (payment_id, seq);

-- Reported outcomes, in commit order by position. The chain is a hash over the ids up to here, so
-- that a cursor which this database has never given out is known as such.
CREATE TABLE reports (
    seq        {{ID}},
    id         TEXT   NOT NULL UNIQUE,
    payment_id TEXT   NOT NULL,
    type       TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    position   BIGINT,
    chain      TEXT   NOT NULL
);
CREATE UNIQUE INDEX reports_position ON reports (position);
CREATE INDEX reports_payment ON reports (payment_id);
CREATE INDEX reports_unplaced ON reports (seq) WHERE position IS NULL;

-- The outbox: a report on its way to the merchant's backend.
CREATE TABLE callbacks (
    seq         {{ID}},
    id          TEXT   NOT NULL UNIQUE,
    payment_id  TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    url         TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    queued_at   BIGINT NOT NULL, -- created, or last redelivered
    next_at     BIGINT NOT NULL,
    tried_at    BIGINT NOT NULL, -- last attempt
    lease_until BIGINT NOT NULL,
    claims      BIGINT NOT NULL, -- fencing number
    attempts    BIGINT NOT NULL  -- used up since queued_at
);
CREATE INDEX callbacks_due ON callbacks (url, next_at) WHERE state = 'pending';
CREATE INDEX callbacks_leased ON callbacks (url) WHERE state = 'pending' AND lease_until > 0;
CREATE INDEX callbacks_payment ON callbacks (payment_id, seq) WHERE state = 'pending';
CREATE INDEX callbacks_of_payment ON callbacks (payment_id);
CREATE INDEX callbacks_state ON callbacks (state, seq);

CREATE TABLE attempts (
    seq         {{ID}},
    callback_id TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    status      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    error       TEXT   NOT NULL,
    response    TEXT   NOT NULL
);
CREATE INDEX attempts_callback ON attempts (callback_id, seq);

-- Small things that survive a restart, such as how far a sweep had come.
CREATE TABLE marks (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
