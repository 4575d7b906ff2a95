package api

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestOutlet_waitsOnlyForWhoDoesNotRead fills a connection until the kernel has no more room.
func TestOutlet_waitsOnlyForWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	page, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = page.Close() }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	out := &outlet{conn: conn}
	frame := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	sent, held := 0, make(chan struct{})
	var received bytes.Buffer
	read := make(chan error, 1)
	go func() {
		<-held // only then somebody reads
		_, err := io.Copy(&received, page)
		read <- err
	}()
	for waits := 0; waits == 0; sent++ {
		if sent > 1<<12 {
			t.Fatalf("%d bytes were taken from a connection that nobody reads", sent*len(frame))
		}
		out.take(func() { waits++; close(held) })
		_, _ = out.Write(frame)
		err := out.flush()
		out.give()
		if err != nil {
			t.Fatal(err)
		}
	}
	if sent == 1 {
		t.Error("the first frame had to wait")
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if want := bytes.Repeat(frame, sent); !bytes.Equal(received.Bytes(), want) {
		t.Errorf("%d bytes arrived, not the %d that were sent", received.Len(), len(want))
	}
}

// TestOutlet_writesOnce reads a pipe, which hands over one write at a time.
func TestOutlet_writesOnce(t *testing.T) {
	t.Parallel()
	conn, page := net.Pipe()
	defer func() { _ = page.Close() }()
	out := &outlet{conn: conn, kept: []byte("upgrade ")}
	failed := make(chan error, 1)
	go func() {
		out.take(func() {})
		_, _ = out.Write([]byte("status "))
		_, _ = out.Write([]byte("link"))
		err := out.flush()
		out.give()
		_, last := out.Write([]byte("close")) // the page's own goroutine gathers nothing
		failed <- errors.Join(err, last, conn.Close())
	}()
	for _, want := range []string{"upgrade status link", "close"} {
		got := make([]byte, 64)
		n, err := page.Read(got)
		if err != nil || string(got[:n]) != want {
			t.Fatalf("the page read %q, %v; want %q in one write", got[:n], err, want)
		}
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// TestOutlet_refusesAfterTheUpgrade has the first thing that is written be a close.
func TestOutlet_refusesAfterTheUpgrade(t *testing.T) {
	t.Parallel()
	conn, page := net.Pipe()
	defer func() { _ = page.Close() }()
	out := &outlet{conn: conn, kept: []byte("upgrade ")}
	go func() { _, _ = out.Write([]byte("close")) }()
	got := make([]byte, 64)
	if n, err := page.Read(got); err != nil || string(got[:n]) != "upgrade close" {
		t.Fatalf("the page read %q, %v; want the answer to the upgrade and then the close", got[:n], err)
	}
}

func TestOutlet_waitsNotForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn, page := net.Pipe()
		defer func() { _ = page.Close() }()
		out := &outlet{conn: conn}
		began, waits := time.Now(), 0
		out.take(func() { waits++ })
		_, _ = out.Write([]byte("nobody reads"))
		err := out.flush()
		out.give()
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != writeTimeout || waits != 1 {
			t.Errorf("flush() = %v after %s with %d waits, want the time-out after %s with one", err, time.Since(began), waits, writeTimeout)
		}
	})
}

// TestOutlet_crewDoesNotWaitForAnAnswerUnseen has the crew come while the page's own goroutine writes.
func TestOutlet_crewDoesNotWaitForAnAnswerUnseen(t *testing.T) {
	t.Parallel()
	out := &outlet{}
	out.turn.Lock()
	out.take(out.turn.Unlock) // the crew is told, and only then its turn comes
	out.give()
	if !out.turn.TryLock() {
		t.Error("nobody writes, and nobody may")
	}
}
