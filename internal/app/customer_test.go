package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
)

// customer is a page: little more than what a browser sends, and pongs. It calls welcome at the first message.
func customer(conn net.Conn, token string, welcome func()) error {
	defer func() { _ = conn.Close() }()
	if err := knock(conn, token); err != nil {
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
	for err == nil {
		var opcode byte
		if opcode, err = skipFrame(in); opcode == 0x9 {
			_, err = conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
		}
		welcome()
	}
	return err
}

// knock asks for a page's stream.
func knock(conn net.Conn, token string) error {
	_, err := fmt.Fprintf(conn, "GET /v1/page/stream HTTP/1.1\r\nHost: relay.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: dollr-relay.v1, bearer.%s\r\n\r\n", token)
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
