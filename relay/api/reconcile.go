package api

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/dollr-relay/dollr-relay/relay"
)

// Reconciler sweeps over payments.
type Reconciler interface {
	// Start starts a sweep unless one is running, and returns its report so far.
	Start() ReconcileReport
	// Report returns the report of the running or else the last sweep, the zero value before the first.
	Report() ReconcileReport
}

// ReconcileReport is what a sweep has found.
type ReconcileReport struct {
	StartedAt, EndedAt                     time.Time
	Asked, Failed                          int
	Late, Missed, Mismatched, Contradicted int
}

type reconcileJSON struct {
	StartedAt        *relay.Time `json:"started_at"`
	EndedAt          *relay.Time `json:"ended_at"`
	Asked            int         `json:"asked"`
	Failed           int         `json:"failed"`
	FoundLate        int         `json:"found_late"`
	MissedByRealtime int         `json:"missed_by_realtime"`
	Mismatched       int         `json:"mismatched"`
	Contradicted     int         `json:"contradicted"`
}

func (r ReconcileReport) json() reconcileJSON {
	return reconcileJSON{
		StartedAt: relay.NullTime(r.StartedAt), EndedAt: relay.NullTime(r.EndedAt), Asked: r.Asked, Failed: r.Failed,
		FoundLate: r.Late, MissedByRealtime: r.Missed, Mismatched: r.Mismatched, Contradicted: r.Contradicted,
	}
}

func (s *Server) startReconcile(c echo.Context) error {
	if err := readNothing(c); err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, s.Reconciler.Start().json())
}

func (s *Server) showReconcile(c echo.Context) error {
	if err := readQuery(c).finish(); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, s.Reconciler.Report().json())
}
