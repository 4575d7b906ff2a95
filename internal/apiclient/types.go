package apiclient

import (
	"encoding/json"
	"time"
)

// Payment is what the commands show of a payment.
type Payment struct {
	ID              string            `json:"id"`
	Operation       string            `json:"operation"`
	ReferenceID     *string           `json:"reference_id"`
	SourceType      *string           `json:"source_type"`
	SourceID        *int64            `json:"source_id"`
	Status          *string           `json:"status"`
	Outcome         string            `json:"outcome"`
	Verified        bool              `json:"verified"`
	Final           bool              `json:"final"`
	Late            bool              `json:"late"`
	PreviousOutcome *string           `json:"previous_outcome"`
	Contradicted    bool              `json:"contradicted"`
	Version         int64             `json:"version"`
	LastError       *string           `json:"last_error"`
	Amounts         map[string]string `json:"amounts"`
	Expected        map[string]string `json:"expected"`
	Metadata        map[string]string `json:"metadata"`
	Siblings        []string          `json:"siblings"`
	Link            *string           `json:"link"`
	CreatedAt       time.Time         `json:"created_at"`
	VerifiedAt      *time.Time        `json:"verified_at"`
	WatchUntil      time.Time         `json:"watch_until"`
	LastCheckedAt   *time.Time        `json:"last_checked_at"`
}

// TimelineEntry is one entry of a payment's timeline.
type TimelineEntry struct {
	At      time.Time `json:"at"`
	Via     string    `json:"via"`
	Outcome string    `json:"outcome"`
	Detail  string    `json:"detail"`
}

// Callback is a callback as operators see it.
type Callback struct {
	ID            string     `json:"id"`
	PaymentID     string     `json:"payment_id"`
	Type          string     `json:"type"`
	State         string     `json:"state"`
	URL           string     `json:"url"`
	CreatedAt     time.Time  `json:"created_at"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	Attempts      []Attempt  `json:"attempts"`
}

// Attempt is one try to deliver a callback.
type Attempt struct {
	At         time.Time `json:"at"`
	Status     *int      `json:"status"`
	DurationMS int64     `json:"duration_ms"`
	Error      *string   `json:"error"`
}

// Event is one entry of the event feed.
type Event struct {
	Cursor    string          `json:"cursor"`
	ID        string          `json:"id"` // the callback's webhook-id
	Type      string          `json:"type"`
	Timestamp string          `json:"timestamp"` // as it stands in the callback
	Data      json.RawMessage `json:"data"`
}

// Events is one page of the event feed.
type Events struct {
	Data       []Event `json:"data"`
	NextCursor string  `json:"next_cursor"`
}

// Sweep is the report of a reconciliation.
type Sweep struct {
	StartedAt        *time.Time `json:"started_at"`
	EndedAt          *time.Time `json:"ended_at"` // nil while it runs
	Asked            int        `json:"asked"`
	Failed           int        `json:"failed"`
	FoundLate        int        `json:"found_late"`
	MissedByRealtime int        `json:"missed_by_realtime"`
	Mismatched       int        `json:"mismatched"`
	Contradicted     int        `json:"contradicted"`
}
