package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dollr-relay/dollr-relay/relay"
)

// ErrUnknownCursor reports a cursor of the event feed that this database has not given out: it was
// restored from a backup. Start over, dropping known ids.
var ErrUnknownCursor = errors.New("unknown cursor")

// FeedEntry is one reported outcome of the event feed.
type FeedEntry struct {
	Cursor string
	ID     string // the callback's webhook-id
	Type   string
	At     time.Time
	Data   json.RawMessage
}

// insertReport writes a report and, if callbacks are configured, its callback. An outcome that was
// reported before (expired, watched again, expired again) has the same id and is not reported twice.
func (s *Store) insertReport(ctx context.Context, tx querier, p relay.Payment, r relay.Report) error {
	if p.SourceID != 0 && s.engine.shared() {
		// Another payment of the source may be settling right now: whoever comes second names the first.
		if err := s.engine.lock(ctx, tx, sourceLock(p)); err != nil {
			return err
		}
		var err error
		if p.Siblings, err = siblings(ctx, tx, p); err != nil {
			return err
		}
	}
	body, err := r.Body(p)
	if err != nil {
		return err
	}
	id := relay.ReportID(p.ID, r.Type)
	err = changedOne(tx.ExecContext(ctx, `INSERT INTO reports (id, payment_id, type, at, body, chain) VALUES ($1, $2, $3, $4, $5, '')
		ON CONFLICT (id) DO NOTHING`, id, p.ID, r.Type, ms(r.At), string(body)))
	if errors.Is(err, errRetry) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if !s.engine.shared() { // the order of commits is known: there is one writer
		if err := placeReports(ctx, tx); err != nil {
			return err
		}
	}
	if len(s.opts.CallbackURLs) == 0 {
		return nil
	}
	return insertCallback(ctx, tx, id, p, r, cmp.Or(p.CallbackURL, s.opts.CallbackURLs[0]), s.opts.FirstDelay)
}

// sourceLock is the lock of what payments of one source tell of each other.
func sourceLock(p relay.Payment) int64 {
	sum := sha256.Sum256([]byte(p.SourceType + strconv.FormatInt(p.SourceID, 10)))
	return int64(binary.BigEndian.Uint64(sum[:8])) // any 64 bits will do
}

// placeReports gives reports without a position the next ones. The chain of a report hashes its
// own id with the chain before it, so that a cursor names all that was read, not only how much.
func placeReports(ctx context.Context, tx querier) error {
	position, chain, err := lastPlace(ctx, tx)
	if err != nil {
		return err
	}
	unplaced, err := query(ctx, tx, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
		`SELECT id FROM reports WHERE position IS NULL ORDER BY seq`)
	if err != nil {
		return fmt.Errorf("read new reports: %w", err)
	}
	for _, id := range unplaced {
		sum := sha256.Sum256([]byte(chain + id))
		position, chain = position+1, hex.EncodeToString(sum[:8])
		if _, err := tx.ExecContext(ctx, `UPDATE reports SET position = $1, chain = $2 WHERE id = $3`, position, chain, id); err != nil {
			return fmt.Errorf("place report: %w", err)
		}
	}
	return nil
}

// placeNew places reports that have been committed without a position.
func (s *Store) placeNew(ctx context.Context) error {
	var unplaced int64
	reading, db, done := s.engine.reader(ctx)
	err := db.QueryRowContext(reading, `SELECT COUNT(*) FROM (SELECT 1 FROM reports WHERE position IS NULL LIMIT 1) AS r`).Scan(&unplaced)
	done()
	if err != nil || unplaced == 0 {
		return err
	}
	return s.write(ctx, "place", func(ctx context.Context, tx querier) error {
		if err := s.engine.lock(ctx, tx, feedLock); err != nil {
			return err
		}
		return placeReports(ctx, tx)
	})
}

func lastPlace(ctx context.Context, db querier) (position int64, chain string, err error) {
	err = db.QueryRowContext(ctx, `SELECT position, chain FROM reports WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1`).Scan(&position, &chain)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, "", fmt.Errorf("read last report: %w", err)
	}
	return position, chain, nil
}

// Feed returns reports after a cursor (empty: from the start), in commit order.
//
// Where several processes write, the order of commits shows only afterwards: reports are given their
// positions when somebody reads, under a lock. One that commits later comes later.
func (s *Store) Feed(ctx context.Context, after string, limit int) ([]FeedEntry, error) {
	if s.engine.shared() {
		if err := s.placeNew(ctx); err != nil {
			return nil, err
		}
	}
	position, err := s.position(ctx, after)
	if err != nil {
		return nil, err
	}
	entries, err := read(ctx, s.engine, scanFeedEntry,
		`SELECT position, chain, id, type, at, body FROM reports WHERE position > $1 AND body <> '' ORDER BY position LIMIT $2`, position, limit)
	if err != nil {
		return nil, fmt.Errorf("read event feed: %w", err)
	}
	return entries, nil
}

func (s *Store) position(ctx context.Context, cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	number, chain, ok := strings.Cut(cursor, "-")
	position, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return 0, ErrUnknownCursor
	}
	var known string
	ctx, db, done := s.engine.reader(ctx)
	defer done()
	err = db.QueryRowContext(ctx, `SELECT chain FROM reports WHERE position = $1`, position).Scan(&known)
	if errors.Is(err, sql.ErrNoRows) || err == nil && known != chain {
		return 0, ErrUnknownCursor
	}
	return position, err
}

func scanFeedEntry(s scanner) (FeedEntry, error) {
	var (
		e           FeedEntry
		position    int64
		chain, body string
		content     struct{ Data json.RawMessage }
	)
	if err := s.Scan(&position, &chain, &e.ID, &e.Type, millis{&e.At}, &body); err != nil {
		return FeedEntry{}, err
	}
	e.Cursor = strconv.FormatInt(position, 10) + "-" + chain
	err := json.Unmarshal([]byte(body), &content)
	e.Data = content.Data
	return e, err
}
