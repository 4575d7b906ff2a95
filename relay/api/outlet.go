package api

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// outlet is what a page's frames are written to. Almost always the kernel has room for a frame: then writing it is one system
// call, without a timer and without waiting. A page that does not read is found out at the moment at which it has to be waited for.
type outlet struct {
	conn net.Conn

	turn  sync.Mutex // who writes: the crew, or the page's own goroutine
	waits func()     // called by Write before it waits; only the crew wants to know
}

// take makes it the crew's turn to write. The page's own goroutine writes seldom, but it may be waiting in the middle of it.
func (o *outlet) take(waits func()) {
	if !o.turn.TryLock() {
		waits()
		o.turn.Lock()
	}
	o.waits = waits
}

func (o *outlet) give() {
	o.waits = nil
	o.turn.Unlock()
}

// Write implements [io.Writer] for whose turn it is. It writes all of p, and waits for a page at most writeTimeout.
func (o *outlet) Write(p []byte) (int, error) {
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
