package api

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// outlet is what a page's frames are written to. What is due at the same moment leaves in one write, and almost always the
// kernel has room for it: then that is one system call, without a timer and without waiting. A page that does not read is
// found out at the moment at which it has to be waited for.
type outlet struct {
	conn net.Conn

	turn      sync.Mutex // who writes: the crew, or the page's own goroutine
	waits     func()     // called before the page is waited for; only the crew wants to know
	gathering bool       // what is written is kept for flush
	kept      []byte     // goes out before anything else: at first, the answer to the upgrade
}

// take makes it the crew's turn to write: it gathers until [outlet.flush]. The page's own goroutine writes seldom, but it may
// be waiting in the middle of it.
func (o *outlet) take(waits func()) {
	if !o.turn.TryLock() {
		waits()
		o.turn.Lock()
	}
	o.waits, o.gathering = waits, true
}

func (o *outlet) give() {
	o.waits, o.gathering = nil, false
	o.turn.Unlock()
}

// Write implements [io.Writer] for whose turn it is. What is gathered fails in flush, if at all.
func (o *outlet) Write(p []byte) (int, error) {
	if !o.gathering && len(o.kept) == 0 {
		return o.put(p)
	}
	o.kept = append(o.kept, p...)
	if o.gathering {
		return len(p), nil
	}
	return len(p), o.flush()
}

// flush writes what was gathered.
func (o *outlet) flush() error {
	kept := o.kept
	o.kept = nil // an idle page keeps no room for it
	if len(kept) == 0 {
		return nil
	}
	_, err := o.put(kept)
	return err
}

// put writes all of p, and waits for a page at most writeTimeout.
func (o *outlet) put(p []byte) (int, error) {
	raw, ok := o.conn.(syscall.Conn)
	if !ok {
		o.wait()
		return o.conn.Write(p)
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return 0, err
	}
	n, waited := 0, false
	var failed error
	err = control.Write(func(fd uintptr) (done bool) {
		for n < len(p) {
			m, err := syscall.Write(int(fd), p[n:])
			switch {
			case err == nil:
				n += m
			case errors.Is(err, syscall.EINTR):
			case errors.Is(err, syscall.EAGAIN):
				if !waited {
					waited = true
					o.wait()
				}
				return false
			default:
				failed = err
				return true
			}
		}
		return true
	})
	if waited {
		_ = o.conn.SetWriteDeadline(time.Time{})
	}
	return n, errors.Join(err, failed)
}

func (o *outlet) wait() {
	_ = o.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if o.waits != nil {
		o.waits()
	}
}
