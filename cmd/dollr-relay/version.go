package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"
)

// Release builds set these with -ldflags -X; other builds tell what the toolchain knows.
var linkedVersion, linkedCommit string //nolint:gochecknoglobals // the linker can set nothing else

// build says what this binary was made from.
type build struct{ text, commit, goVersion string }

func version() build {
	b := build{text: "devel", commit: "unknown", goVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.text = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.commit = s.Value
		}
	}
	b.text, b.commit = cmp.Or(linkedVersion, b.text), cmp.Or(linkedCommit, b.commit)
	return b
}

// versionCommand prints it.
type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(c *console) error { //nolint:unparam // the command line library wants an error
	b := version()
	c.printf("dollr-relay %s\ncommit %s\n%s\n", b.text, b.commit, b.goVersion)
	return nil
}

// healthCommand is the container's health check: a static image has no curl.
type healthCommand struct {
	AdminListen string `name:"admin-listen" env:"RELAY_ADMIN_LISTEN" default:"127.0.0.1:9090" help:"Admin address of the relay."`
}

// Run implements the command.
func (h *healthCommand) Run(ctx context.Context, c *console) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+localAddress(h.AdminListen)+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("RELAY_ADMIN_LISTEN: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("the relay does not answer: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the relay answers %s", answer.Status)
	}
	c.printf("up\n")
	return nil
}
