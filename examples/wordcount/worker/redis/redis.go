// Package redis speaks as much of Redis' protocol as the worker needs.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
package redis

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Connection is one connection to a server. It is used by one goroutine at a time.
type Connection struct {
	stream net.Conn
	reader *bufio.Reader
}

// Dial connects to the server at this address, "host:port".
func Dial(ctx context.Context, address string) (*Connection, error) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	stream, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Connection{stream: stream, reader: bufio.NewReader(stream)}, nil
}

// Close ends the connection, also while a call waits.
func (c *Connection) Close() error { return c.stream.Close() }

// Call sends a command and returns its answer's texts: none for a null, several for an array.
func (c *Connection) Call(words ...string) ([]string, error) {
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c.stream, command.String()); err != nil {
		return nil, fmt.Errorf("sending %s: %w", words[0], err)
	}
	answer, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", words[0], err)
	}
	return answer, nil
}

func (c *Connection) read() ([]string, error) {
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimRight(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return []string{rest}, nil
	case '-':
		return nil, fmt.Errorf("refused: %s", rest)
	case '$', '*':
		length, err := strconv.Atoi(rest)
		if err != nil || length < 0 {
			return nil, err
		}
		if kind == '$' {
			data := make([]byte, length+2)
			_, err := io.ReadFull(c.reader, data)
			return []string{string(data[:length])}, err
		}
		var all []string
		for range length {
			one, err := c.read()
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("no answer of Redis: %q", line)
}
