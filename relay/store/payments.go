package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

const paymentColumns = `id, operation, reference_id, session_id, source_type, source_id, expected, callback_url, metadata,
	status, outcome, late, previous_outcome, contradicted, amounts, version, via, hint_status, hint_at, last_seen, last_error,
	created_at, updated_at, watch_since, watch_until, verified_at, final_at, last_checked_at, truth_at, put_off_since, reopened_until`

const insertPayment = `INSERT INTO payments (` + paymentColumns + `, revision)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26,
	$27, $28, $29, $30, $31, 1) ON CONFLICT (id) DO NOTHING`

// row is a payment with its place in lists.
type row struct {
	relay.Payment

	seq int64
}

// Register implements [relay.Store].
func (s *Store) Register(ctx context.Context, id string, decide func(known *relay.Payment) (relay.Payment, []relay.Effect, error)) (p relay.Payment, created bool, effects []relay.Effect, err error) {
	err = s.write(ctx, "register", func(ctx context.Context, tx querier) error {
		known, err := findRow(ctx, tx, id)
		created = errors.Is(err, relay.ErrNotFound)
		switch {
		case created:
			p, effects, err = decide(nil)
		case err == nil:
			p, effects, err = decide(&known.Payment)
		}
		if err != nil {
			return err
		}
		if created {
			p.Revision = 1
			err = changedOne(tx.ExecContext(ctx, insertPayment, paymentArgs(p)...))
		} else if len(effects) > 0 {
			err = updateRow(ctx, tx, known.Payment, &p)
		}
		if err != nil {
			return err
		}
		if created || len(effects) > 0 {
			if err := insertLabels(ctx, tx, p); err != nil {
				return err
			}
		}
		if p.Siblings, err = siblings(ctx, tx, p); err != nil {
			return err
		}
		return s.carryOut(ctx, tx, p, effects)
	})
	return p, created, effects, err
}

// Apply implements [relay.Store].
func (s *Store) Apply(ctx context.Context, id string, decide func(relay.Payment) (relay.Payment, []relay.Effect)) (p relay.Payment, effects []relay.Effect, err error) {
	err = s.write(ctx, "apply", func(ctx context.Context, tx querier) error {
		known, err := findRow(ctx, tx, id)
		if err != nil {
			return err
		}
		p, effects = decide(known.Payment)
		if err := updateRow(ctx, tx, known.Payment, &p); err != nil {
			return err
		}
		return s.carryOut(ctx, tx, p, effects)
	})
	return p, effects, err
}

// carryOut writes what a decision brings beside the payment itself.
func (s *Store) carryOut(ctx context.Context, tx querier, p relay.Payment, effects []relay.Effect) error {
	for _, effect := range effects {
		var err error
		switch effect := effect.(type) {
		case relay.Record:
			err = insertEvent(ctx, tx, p.ID, effect.Event)
		case relay.Report:
			err = s.insertReport(ctx, tx, p, effect)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Find implements [relay.Store].
func (s *Store) Find(ctx context.Context, id string) (relay.Payment, error) {
	started := time.Now()
	defer func() { s.opts.Observe("find", time.Since(started)) }()
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	found, err := findRow(ctx, db, id)
	if err == nil {
		err = s.fillLive(ctx, []*relay.Payment{&found.Payment})
	}
	return found.Payment, err
}

// fillLive fills in what only replicas know, where there are some.
func (s *Store) fillLive(ctx context.Context, found []*relay.Payment) error {
	leases, ok := s.Leases()
	if !ok || len(found) == 0 {
		return nil
	}
	var open []string
	for _, p := range found {
		if !p.Final() && p.HasRealtime() {
			open = append(open, p.ID)
		}
	}
	if len(open) == 0 {
		return nil
	}
	sights, err := leases.Sights(ctx, "", open)
	for _, p := range found {
		p.Live = sights[p.ID].Live
	}
	return err
}

// unanswered holds for a final payment until its later question, due $2 after it settled, is done: Dollr
// answered, "not found" included, or went on for a day to say nothing about this payment alone.
const unanswered = `truth_at < final_at + $2 AND NOT (last_error = 'not_found' AND last_checked_at >= final_at + $2)
	AND NOT (last_error IN ('refused', 'unreadable') AND last_checked_at >= final_at + $2 + 86400000)`

// Watched implements [relay.Store]: open payments, reopened ones, and final ones without an answer
// since the last of their later questions was due.
func (s *Store) Watched(ctx context.Context, after string, now time.Time, limit int) ([]relay.Payment, error) {
	rows, err := read(ctx, s.engine, scanRow, `SELECT seq, revision, `+paymentColumns+` FROM payments
		WHERE id > $1 AND (outcome = 'pending' OR reopened_until > $3 OR (final_at > 0 AND `+unanswered+`))
		ORDER BY id LIMIT $4`, after, relay.LastRecheck.Milliseconds(), ms(now), limit)
	return payments(rows), err
}

// ToReconcile names, in pages by id, the payments that a sweep asks about: all open ones, and final
// ones whose later questions, 1 h and 24 h after they settled, are due and not answered. What settled in the future did so by a
// clock that was ahead, and may have expired too early: it is asked about until then.
func (s *Store) ToReconcile(ctx context.Context, after string, now time.Time, limit int) ([]string, error) {
	due := func(slot string) string {
		return strings.ReplaceAll(`(final_at + $2 <= $4 AND `+unanswered+`)`, "$2", slot)
	}
	ids, err := read(ctx, s.engine, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
		`SELECT id FROM payments WHERE id > $1 AND (outcome = 'pending' OR (final_at > 0 AND (`+due("$2")+` OR `+due("$3")+`)) OR final_at > $4 + $2)
		ORDER BY id LIMIT $5`, after, relay.FirstRecheck.Milliseconds(), relay.LastRecheck.Milliseconds(), ms(now), limit)
	if err != nil {
		return nil, fmt.Errorf("list payments to reconcile: %w", err)
	}
	return ids, nil
}

// Filter selects payments for a list.
type Filter struct {
	Outcome     relay.Outcome
	Operation   relay.Operation
	ReferenceID string
	// Contradicted selects the successes that Dollr contradicted later.
	Contradicted bool
	Before       int64 // cursor: 0 for the newest
	Limit        int
}

// List returns payments, newest first, and the cursor of the next page, 0 at the end.
func (s *Store) List(ctx context.Context, f Filter) ([]relay.Payment, int64, error) {
	text, args := `SELECT seq, revision, `+paymentColumns+` FROM payments WHERE 1 = 1`, []any{}
	where := func(condition string, arg any) {
		args = append(args, arg)
		text += fmt.Sprintf(" AND %s $%d", condition, len(args))
	}
	if f.Outcome != "" {
		where("outcome =", string(f.Outcome))
	}
	if f.Operation != "" {
		where("operation =", string(f.Operation))
	}
	if f.ReferenceID != "" {
		where("reference_id =", f.ReferenceID)
	}
	if f.Contradicted {
		text += " AND contradicted = 1"
	}
	if f.Before > 0 {
		where("seq <", f.Before)
	}
	args = append(args, f.Limit+1)
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	rows, err := query(ctx, db, scanRow, text+fmt.Sprintf(" ORDER BY seq DESC LIMIT $%d", len(args)), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list payments: %w", err)
	}
	next := int64(0)
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		next = rows[f.Limit-1].seq
	}
	found := payments(rows)
	each := make([]*relay.Payment, len(found))
	for i := range found {
		each[i] = &found[i]
		if found[i].Siblings, err = siblings(ctx, db, found[i]); err != nil {
			return nil, 0, err
		}
	}
	return found, next, s.fillLive(ctx, each)
}

func payments(rows []row) []relay.Payment {
	found := make([]relay.Payment, len(rows))
	for i, r := range rows {
		found[i] = r.Payment
	}
	return found
}

func findRow(ctx context.Context, db querier, id string) (row, error) {
	r, err := scanRow(db.QueryRowContext(ctx, `SELECT seq, revision, `+paymentColumns+` FROM payments WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, fmt.Errorf("%w: %s", relay.ErrNotFound, id)
	}
	if err != nil {
		return row{}, fmt.Errorf("read payment %s: %w", id, err)
	}
	r.Siblings, err = siblings(ctx, db, r.Payment)
	return r, err
}

// siblings are the other payments of the same source that have succeeded.
func siblings(ctx context.Context, db querier, p relay.Payment) ([]string, error) {
	if p.SourceType == "" || p.SourceID == 0 {
		return nil, nil
	}
	ids, err := query(ctx, db, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
		`SELECT id FROM payments WHERE source_type = $1 AND source_id = $2 AND source_id <> 0 AND outcome = 'succeeded' AND id <> $3 ORDER BY seq`,
		p.SourceType, p.SourceID, p.ID)
	if err != nil {
		return nil, fmt.Errorf("read siblings of %s: %w", p.ID, err)
	}
	return ids, nil
}

// updateRow writes what has changed of a payment, if its row is still the one that was read, and gives it the next revision.
// What has not changed stays out of the statement: SQLite would write the entries of its indexes anew.
func updateRow(ctx context.Context, tx querier, known relay.Payment, p *relay.Payment) error {
	text, args := []byte("UPDATE payments SET revision = revision + 1"), []any{p.ID, p.Revision}
	was, is, i := paymentArgs(known), paymentArgs(*p), 0
	for column := range strings.SplitSeq(paymentColumns, ",") {
		if is[i] != was[i] {
			args = append(args, is[i])
			text = fmt.Appendf(text, ", %s = $%d", strings.TrimSpace(column), len(args))
		}
		i++
	}
	err := changedOne(tx.ExecContext(ctx, string(text)+" WHERE id = $1 AND revision = $2", args...))
	p.Revision++
	return err
}

// changedOne turns a write that found nothing into [errRetry].
func changedOne(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errRetry, err)
	}
	return nil
}

func paymentArgs(p relay.Payment) []any {
	return []any{
		p.ID, string(p.Operation), p.ReferenceID, p.SessionID, p.SourceType, p.SourceID, toJSON(p.Expected), p.CallbackURL, toJSON(p.Metadata),
		p.Status, string(p.Outcome), bit(p.Late), string(p.PreviousOutcome), bit(p.Contradicted), toJSON(p.Amounts), p.Version, string(p.Via),
		p.HintStatus, ms(p.HintAt), p.LastSeen, p.LastError,
		ms(p.CreatedAt), ms(p.UpdatedAt), ms(p.WatchSince), ms(p.WatchUntil), ms(p.VerifiedAt), ms(p.FinalAt),
		ms(p.LastCheckedAt), ms(p.TruthAt), ms(p.PutOffSince), ms(p.ReopenedUntil),
	}
}

func scanRow(s scanner) (row, error) {
	var (
		r                           row
		expected, metadata, amounts string
		late, contradicted          int64
	)
	err := s.Scan(&r.seq, &r.Revision,
		&r.ID, &r.Operation, &r.ReferenceID, &r.SessionID, &r.SourceType, &r.SourceID, &expected, &r.CallbackURL, &metadata,
		&r.Status, &r.Outcome, &late, &r.PreviousOutcome, &contradicted, &amounts, &r.Version, &r.Via,
		&r.HintStatus, millis{&r.HintAt}, &r.LastSeen, &r.LastError,
		millis{&r.CreatedAt}, millis{&r.UpdatedAt}, millis{&r.WatchSince}, millis{&r.WatchUntil}, millis{&r.VerifiedAt}, millis{&r.FinalAt},
		millis{&r.LastCheckedAt}, millis{&r.TruthAt}, millis{&r.PutOffSince}, millis{&r.ReopenedUntil})
	if err != nil {
		return row{}, err
	}
	r.Late, r.Contradicted = late != 0, contradicted != 0
	return r, errors.Join(fromJSON(expected, &r.Expected), fromJSON(metadata, &r.Metadata), fromJSON(amounts, &r.Amounts))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// toJSON stores what has no columns of its own; null is the empty text.
func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil || string(text) == "null" {
		return "" // only maps and structs of text come here: they always encode
	}
	return string(text)
}

func fromJSON(text string, v any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}
