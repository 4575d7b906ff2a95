package api

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Admin serves health and metrics. It is never public, and stays up until the process ends.
func (s *Server) Admin(metrics http.Handler) http.Handler {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.handleError
	e.Use(s.observe, s.secure)
	e.GET("/healthz", func(c echo.Context) error { return c.JSON(http.StatusOK, map[string]string{"status": "up"}) })
	e.GET("/readyz", s.ready)
	e.GET("/metrics", echo.WrapHandler(metrics))
	return e
}

// ready reports whether this process should get traffic: its database takes writes and it is not stopping.
func (s *Server) ready(c echo.Context) error {
	if s.isStopping() {
		return refuse(http.StatusServiceUnavailable, "Stopping.")
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*time.Second)
	defer cancel()
	if err := s.Records.Probe(ctx); err != nil {
		return &problem{Status: http.StatusServiceUnavailable, Detail: "The database takes no writes.", cause: err}
	}
	return c.JSON(http.StatusOK, map[string]string{"status": "ready"})
}
