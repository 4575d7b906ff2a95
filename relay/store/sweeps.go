package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Sweep is a reconciliation in which every replica has a part.
type Sweep struct {
	Number    int64
	StartedAt time.Time
	Age       time.Duration     // by the database's clock
	Parts     map[string]string // by replica, as it wrote it
	Present   map[string]bool   // the replicas whose lease holds
}

// sweepMark names the last sweep, and begins the names of its parts: in marks, as "number start".
const sweepMark = "sweep"

const (
	sweepNumber = `CAST(split_part(value, ' ', 1) AS BIGINT)`
	sweepStart  = `CAST(split_part(value, ' ', 2) AS BIGINT)`
)

// StartSweep starts a sweep for all replicas, unless the last one was started less than every ago.
func (l Leases) StartSweep(ctx context.Context, every time.Duration) error {
	err := l.store.write(ctx, "sweep", func(ctx context.Context, tx querier) error {
		err := changedOne(tx.ExecContext(ctx, `INSERT INTO marks AS m (name, value) VALUES ($1, '1 ' || `+clockNow+`)
			ON CONFLICT (name) DO UPDATE SET value = (CAST(split_part(m.value, ' ', 1) AS BIGINT) + 1) || ' ' || `+clockNow+`
			WHERE CAST(split_part(m.value, ' ', 2) AS BIGINT) <= `+clockNow+` - CAST($2 AS BIGINT)`, sweepMark, every.Milliseconds()))
		if errors.Is(err, errRetry) {
			return nil // another replica has started it
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM marks WHERE name LIKE $1`, sweepMark+"/%")
		return err
	})
	if err != nil {
		return fmt.Errorf("start sweep: %w", err)
	}
	return nil
}

// LastSweep reads the last sweep; its Number is 0 if there was none.
func (l Leases) LastSweep(ctx context.Context) (s Sweep, err error) {
	ctx, db, done := l.store.engine.reader(ctx)
	defer done()
	var age int64
	err = db.QueryRowContext(ctx, `SELECT `+sweepNumber+`, `+sweepStart+`, `+clockNow+` - `+sweepStart+` FROM marks WHERE name = $1`, sweepMark).
		Scan(&s.Number, millis{&s.StartedAt}, &age)
	if errors.Is(err, sql.ErrNoRows) {
		return Sweep{}, nil
	}
	s.Age = time.Duration(age) * time.Millisecond
	return s, err
}

// SweepParts adds what the replicas wrote of it.
func (l Leases) SweepParts(ctx context.Context, s *Sweep) error {
	s.Parts, s.Present = map[string]string{}, map[string]bool{}
	_, err := read(ctx, l.store.engine, func(row scanner) (none struct{}, err error) {
		var replica, part string
		err = row.Scan(&replica, &part)
		s.Parts[replica] = part
		return none, err
	}, `SELECT substr(name, $2), value FROM marks WHERE name LIKE $1`, sweepMark+"/%", len(sweepMark)+2)
	if err != nil {
		return fmt.Errorf("read sweep: %w", err)
	}
	_, err = read(ctx, l.store.engine, func(row scanner) (none struct{}, err error) {
		var id string
		err = row.Scan(&id)
		s.Present[id] = true
		return none, err
	}, `SELECT r.id FROM replicas r WHERE `+heldLease)
	if err != nil {
		return fmt.Errorf("read replicas: %w", err)
	}
	return nil
}

// SetSweepPart writes how far a replica is.
func (l Leases) SetSweepPart(ctx context.Context, me, part string) error {
	return l.store.SetMark(ctx, sweepMark+"/"+me, part)
}
