package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
)

// ErrDeclined is the answer "no" to a question; the program ends with code 1 and says no more.
var ErrDeclined = &ExitError{Code: 1}

// Confirm asks a question that has consequences; anything but y or yes is no.
func (s *Session) Confirm(ctx context.Context, question string) error {
	fmt.Fprintf(s.Out, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(s.In).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.Out)
		return ctx.Err()
	case line := <-answer:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		}
		return ErrDeclined
	}
}

// Parallel runs do for every name, a few at a time, prints names in the given order as soon as possible, and joins the
// failures.
func (s *Session) Parallel(names []string, do func(name string) error) error {
	const width = 50
	results := make([]chan error, len(names))
	slots := make(chan struct{}, width)
	var running sync.WaitGroup
	for i, name := range names {
		results[i] = make(chan error, 1)
		slots <- struct{}{}
		running.Go(func() {
			results[i] <- do(name)
			<-slots
		})
	}
	var failed []error
	for i, name := range names {
		if err := <-results[i]; err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintln(s.Out, name)
	}
	running.Wait()
	return errors.Join(failed...)
}

// normalizeHost reads what people write for a host: a path, host:port, an address with its protocol.
func normalizeHost(host string) string {
	host = strings.TrimSpace(host)
	switch {
	case host == "unix://":
		return "unix:///run/berth.sock"
	case strings.Contains(host, "://"):
		return host
	case strings.HasPrefix(host, "/"):
		return "unix://" + filepath.Clean(host)
	}
	return "tcp://" + host
}
