package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const subprotocol = "dollr-relay.v1"

// crowd is many open pages that cost this side little: each reads, and answers pings.
type crowd struct {
	address string
	tokens  []string
	heard   func(page int, message []byte) // must not keep message

	conns   []net.Conn
	readers sync.WaitGroup
	mu      sync.Mutex
	errs    []error
	cutting atomic.Bool
}

func newCrowd(address string, tokens []string, heard func(page int, message []byte)) *crowd {
	return &crowd{address: address, tokens: tokens, heard: heard, conns: make([]net.Conn, len(tokens))}
}

// open opens all pages, so many at a time, and returns how long it took until each had its first message.
func (c *crowd) open(ctx context.Context, atOnce int) (time.Duration, error) {
	c.cutting.Store(false)
	began := time.Now()
	dialer := net.Dialer{KeepAlive: -1} // four system calls less on this side
	var openers, first sync.WaitGroup
	var next atomic.Int64
	first.Add(len(c.tokens))
	for range atOnce {
		openers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(c.tokens); i = int(next.Add(1)) - 1 {
				welcome := sync.OnceFunc(first.Done)
				conn, err := dialer.DialContext(ctx, "tcp", c.address)
				if err != nil {
					c.fail(i, err)
					welcome()
					continue
				}
				c.conns[i] = conn
				c.readers.Go(func() {
					defer welcome()
					err := visit(conn, c.tokens[i], func(message []byte) {
						c.heard(i, message)
						welcome()
					})
					if !c.cutting.Load() {
						c.fail(i, err)
					}
				})
			}
		})
	}
	openers.Wait()
	first.Wait()
	return time.Since(began), c.err()
}

// cut ends all connections without a word.
func (c *crowd) cut() {
	c.cutting.Store(true)
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	c.readers.Wait()
}

func (c *crowd) fail(page int, err error) {
	if errors.Is(err, io.EOF) { // after a final status the server closes
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, fmt.Errorf("page %d: %w", page, err))
}

// err is what the first few pages complained about.
func (c *crowd) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.errs[:min(len(c.errs), 5)]...)
}

// visit is a page on a new connection: it sends little more than what a browser does, and returns when the connection ends. heard
// must not keep the message.
func visit(conn net.Conn, token string, heard func(message []byte)) error {
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /v1/page/stream HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: "+subprotocol+", bearer."+token+"\r\n\r\n"); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 512)
	answer, err := in.ReadString('\n')
	if err == nil && !strings.Contains(answer, " 101 ") {
		return fmt.Errorf("answered %s", strings.TrimSpace(answer))
	}
	for line := answer; err == nil && strings.TrimSpace(line) != ""; {
		line, err = in.ReadString('\n')
	}
	message := make([]byte, 0, 512)
	for err == nil {
		var opcode byte
		opcode, message, err = readFrame(in, message)
		switch {
		case err != nil:
		case opcode == 0x9:
			_, err = conn.Write(append([]byte{0x8a, 0x80 | byte(len(message)), 0, 0, 0, 0}, message...)) // the mask is zero
		case opcode == 0x8:
			_, _ = conn.Write([]byte{0x88, 0x80, 0, 0, 0, 0})
		case opcode == 0x1:
			heard(message)
		}
	}
	return err
}

// readFrame reads one frame of a server into message.
func readFrame(in *bufio.Reader, message []byte) (opcode byte, _ []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, message, err
	}
	length := int(head[1])
	if length == 126 {
		var more [2]byte
		if _, err := io.ReadFull(in, more[:]); err != nil {
			return 0, message, err
		}
		length = int(more[0])<<8 | int(more[1])
	}
	if length > cap(message) {
		message = make([]byte, length)
	}
	message = message[:length]
	_, err = io.ReadFull(in, message)
	return head[0] & 0xf, message, err
}
