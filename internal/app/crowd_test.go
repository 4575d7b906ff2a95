package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is many open pages that cost this side little: each only reads, and answers pings.
type crowd struct {
	tb      testing.TB
	address string
	tokens  []string
	conns   []net.Conn
	readers sync.WaitGroup
}

func newCrowd(tb testing.TB, relay string, tokens []string) *crowd {
	tb.Helper()
	c := &crowd{tb: tb, address: strings.TrimPrefix(relay, "http://"), tokens: tokens, conns: make([]net.Conn, len(tokens))}
	tb.Cleanup(c.cut)
	return c
}

// open opens all pages, so many at a time, and returns how long it took until each had its first message.
func (c *crowd) open(atOnce int) time.Duration {
	c.tb.Helper()
	began := time.Now()
	var openers, first sync.WaitGroup
	var next atomic.Int64
	first.Add(len(c.tokens))
	for range atOnce {
		openers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(c.tokens); i = int(next.Add(1)) - 1 {
				welcome := sync.OnceFunc(first.Done)
				conn, err := net.DialTimeout("tcp", c.address, patience)
				if err != nil {
					c.tb.Errorf("page %d: %v", i, err)
					welcome()
					continue
				}
				c.conns[i] = conn
				c.readers.Go(func() {
					defer welcome()
					if err := customer(conn, c.tokens[i], welcome); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
						c.tb.Errorf("page %d: %v", i, err)
					}
				})
			}
		})
	}
	openers.Wait()
	first.Wait()
	return time.Since(began)
}

// cut ends all connections without a word.
func (c *crowd) cut() {
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	c.readers.Wait()
}

// customer is a page: little more than what a browser sends, and pongs. It calls welcome at the first message.
func customer(conn net.Conn, token string, welcome func()) error {
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "GET /v1/page/stream HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: dollr-relay.v1, bearer.%s\r\n\r\n", token)
	in := bufio.NewReaderSize(conn, 512)
	answer, err := in.ReadString('\n')
	if err == nil && !strings.Contains(answer, " 101 ") {
		return fmt.Errorf("answered %s", strings.TrimSpace(answer))
	}
	for line := answer; err == nil && strings.TrimSpace(line) != ""; {
		line, err = in.ReadString('\n')
	}
	for err == nil {
		var opcode byte
		if opcode, err = skipFrame(in); opcode == 0x9 {
			_, err = conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
		}
		welcome()
	}
	return err
}

// skipFrame reads one frame of a server and returns its opcode.
func skipFrame(in *bufio.Reader) (opcode byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	length := int(head[1])
	if length == 126 {
		var more [2]byte
		if _, err := io.ReadFull(in, more[:]); err != nil {
			return 0, err
		}
		length = int(more[0])<<8 | int(more[1])
	}
	_, err = in.Discard(length)
	return head[0] & 0xf, err
}
