package main

import (
	"testing"
	"time"
)

// TestSoak_short is `make soak` for as long as `make test` can wait: every promise that it checks, not its figures.
func TestSoak_short(t *testing.T) {
	t.Chdir("../..") // where the binary is built from
	short := soak{For: 15 * time.Second, Pages: 200, Rate: 240, Seed: 1}
	if err := short.Run(t.Context()); err != nil {
		t.Error(err)
	}
}
