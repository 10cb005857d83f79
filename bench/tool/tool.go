// Package tool holds the small programs that the bench runs inside containers and beside them: a server, a load
// generator, a writer of log lines, a client of the resolver. They are subcommands of the bench binary.
package tool

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Run runs one of the small programs that the bench puts into containers. found is false when args name none.
func Run(args []string) (found bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	tools := map[string]func([]string) error{"serve": serve, "load": load, "lines": lines, "dns": askNames}
	run, found := tools[args[0]]
	if !found {
		return false, nil
	}
	return true, run(args[1:])
}

// LineLength is the length of a log line, its end included.
const LineLength = 100

// LogLine is a line of 100 bytes.
func LogLine() []byte {
	return append([]byte(strings.Repeat("a line of a log, ", 6)[:LineLength-1]), '\n')
}

// lines writes so many lines of 100 bytes, in blocks of 4,096 bytes as C's stdio does into a pipe.
func lines(args []string) error {
	flags := flag.NewFlagSet("lines", flag.ContinueOnError)
	count := flags.Int("n", 1000, "lines")
	if err := flags.Parse(args); err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 4096)
	line := LogLine()
	for range *count {
		if _, err := out.Write(line); err != nil {
			return err
		}
	}
	return out.Flush()
}

// Limits of the server, so that one that is forgotten can't do harm.
const (
	serveConnections = 256
	serveIdle        = 30 * time.Second
)

// serve answers HTTP with as little work as possible: "/" with six bytes, "/bytes" with a stream until the client has enough.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	address := flags.String("listen", ":8080", "address")
	life := flags.Duration("for", 15*time.Minute, "time after which the server ends")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	end := time.AfterFunc(*life, func() { listener.Close() })
	defer end.Stop()
	slots := make(chan struct{}, serveConnections)
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		slots <- struct{}{}
		go func() {
			defer func() { conn.Close(); <-slots }()
			if err := answerHTTP(conn); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// smallAnswer is the whole answer to "/".
const smallAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"

// answerHTTP serves one connection until the client closes it.
func answerHTTP(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for {
		if err := conn.SetDeadline(time.Now().Add(serveIdle)); err != nil {
			return err
		}
		first, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for line := first; line != "\r\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				return err
			}
		}
		if strings.HasPrefix(first, "GET /bytes ") {
			return streamBytes(conn)
		}
		if _, err := io.WriteString(conn, smallAnswer); err != nil {
			return err
		}
	}
}

// streamBytes writes until the other side closes, which is its way to say enough.
func streamBytes(conn net.Conn) error {
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	block := make([]byte, 128<<10)
	for {
		if err := conn.SetDeadline(time.Now().Add(serveIdle)); err != nil {
			return err
		}
		if _, err := conn.Write(block); err != nil {
			return nil //nolint:nilerr // the client has closed
		}
	}
}

// LoadResult is what load prints.
type LoadResult struct {
	Requests int64   `json:"requests"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

// load asks the server of serve for a time and prints what came as JSON.
func load(args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	address := flags.String("to", "127.0.0.1:8080", "address of the server")
	stream := flags.Bool("stream", false, "one stream of bytes instead of requests")
	connections := flags.Int("c", 16, "connections")
	duration := flags.Duration("for", time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	work := Requests
	if *stream {
		work, *connections = receive, 1
	}
	var lock sync.Mutex // guards total and failures
	var total LoadResult
	var failures []error
	var group sync.WaitGroup
	begin := time.Now()
	for range *connections {
		group.Go(func() {
			result, err := work(*address, begin.Add(*duration))
			lock.Lock()
			defer lock.Unlock()
			total.Requests, total.Bytes = total.Requests+result.Requests, total.Bytes+result.Bytes
			if err != nil {
				failures = append(failures, err)
			}
		})
	}
	group.Wait()
	total.Seconds = time.Since(begin).Seconds()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(total)
}

// Requests asks for "/" on one connection, one after the other and one at least, and checks each answer.
func Requests(address string, until time.Time) (LoadResult, error) {
	var result LoadResult
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return result, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until.Add(5 * time.Second)); err != nil {
		return result, err
	}
	answer := make([]byte, len(smallAnswer))
	for result.Requests == 0 || time.Now().Before(until) {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return result, err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return result, err
		}
		if string(answer) != smallAnswer {
			return result, fmt.Errorf("strange answer: %q", answer)
		}
		result.Requests++
		result.Bytes += int64(len(answer))
	}
	return result, nil
}

// receive reads the stream of "/bytes".
func receive(address string, until time.Time) (LoadResult, error) {
	result := LoadResult{Requests: 1}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return result, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until); err != nil {
		return result, err
	}
	if _, err := io.WriteString(conn, "GET /bytes HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
		return result, err
	}
	block := make([]byte, 256<<10)
	for {
		n, err := conn.Read(block)
		result.Bytes += int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return result, nil
		}
		if err != nil {
			return result, err
		}
	}
}
