-- What operators search payments by: each value of their metadata, newest first, and the few successes that Dollr
-- contradicted. {{VALUES}} lists the members of p.metadata in the engine's words.

CREATE TABLE labels (
    value TEXT   NOT NULL,
    seq   BIGINT NOT NULL, -- of the payment
    PRIMARY KEY (value, seq)
);
INSERT INTO labels (value, seq)
    SELECT DISTINCT v.value, p.seq FROM (SELECT seq, CASE WHEN metadata = '' THEN '{}' ELSE metadata END AS metadata FROM payments) p,
        {{VALUES}} v WHERE v.value <> '';
CREATE INDEX payments_contradicted ON payments (seq) WHERE contradicted = 1;
