package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// storm measures only what pages cost and how soon they are back, several times: for work on just that.
type storm struct {
	Pages int    `default:"10000" help:"How many pages are open."`
	Times int    `default:"3" help:"How often all are cut."`
	Relay string `type:"path" placeholder:"FILE" help:"A built relay. Default: built now."`
	Floor bool   `help:"Measure the floor, too."`
}

// Run prints a line for each server.
func (c *storm) Run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "dollr-relay-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if c.Relay == "" {
		if c.Relay, err = build(ctx, folder); err != nil {
			return err
		}
	}
	if c.Floor {
		if err := c.measureFloor(ctx); err != nil {
			return err
		}
	}
	w := newWorld()
	defer w.close()
	relay, err := w.startRelay(ctx, c.Relay, "sqlite:"+filepath.Join(folder, "storm.db"))
	if err != nil {
		return err
	}
	defer relay.kill()
	payments, err := w.registerPages(ctx, relay, c.Pages)
	if err != nil {
		return err
	}
	return c.measure(ctx, "relay", relay, payments)
}

func (c *storm) measureFloor(ctx context.Context) error {
	w := newWorld()
	defer w.close()
	server, err := w.startFloor(ctx)
	if err != nil {
		return err
	}
	defer server.kill()
	return c.measure(ctx, "floor", server, make([]payment, c.Pages))
}

func (c *storm) measure(ctx context.Context, name string, server *process, payments []payment) error {
	before, err := server.resident()
	if err != nil {
		return err
	}
	tokens := make([]string, len(payments))
	for i, p := range payments {
		tokens[i] = p.Token
	}
	pages := newCrowd(server.Public, tokens, func(int, []byte) {})
	defer pages.cut()
	if _, err := pages.open(ctx, 64); err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	open, err := server.resident()
	if err != nil {
		return err
	}
	fmt.Printf("%s: %s before, %s with %d pages, %s a page; back, memory meanwhile, processor:", name, mb(before), mb(open), c.Pages, kb((open-before)/int64(c.Pages)))
	for range c.Times {
		pages.cut()
		computed, _ := server.cpu()
		peak := server.watch(ctx)
		back, err := pages.open(ctx, len(payments))
		most := peak()
		if err != nil {
			return err
		}
		after, _ := server.cpu()
		fmt.Printf(" %s %s %s;", back.Round(10*time.Millisecond), mb(most), (after - computed).Round(10*time.Millisecond))
	}
	fmt.Println()
	return nil
}
