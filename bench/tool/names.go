package tool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/berth-engine/berth/bench/measure"
)

// NamesResult is what dns prints.
type NamesResult struct {
	Answers int     `json:"answers"`
	Seconds float64 `json:"seconds"`
	P99     float64 `json:"p99_ms"`
}

// askNames asks the container's resolver for the address of one name for a time (RFC 1035 over UDP).
func askNames(args []string) error {
	flags := flag.NewFlagSet("dns", flag.ContinueOnError)
	name := flags.String("name", "", "name to ask for")
	clients := flags.Int("c", 8, "sockets that ask at a time")
	duration := flags.Duration("for", time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := nameserver("/etc/resolv.conf")
	if err != nil {
		return err
	}
	var lock sync.Mutex // guards latencies and failures
	var latencies []float64
	var failures []error
	var group sync.WaitGroup
	begin := time.Now()
	for i := range *clients {
		group.Go(func() {
			times, err := askOne(server, *name, uint16(i), begin.Add(*duration))
			lock.Lock()
			defer lock.Unlock()
			latencies = append(latencies, times...)
			if err != nil {
				failures = append(failures, err)
			}
		})
	}
	group.Wait()
	elapsed := time.Since(begin)
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(NamesResult{Answers: len(latencies), Seconds: elapsed.Seconds(), P99: measure.Percentile(latencies, 99)})
}

// nameserver is the first one of a resolv.conf.
func nameserver(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "nameserver" {
			return net.JoinHostPort(fields[1], "53"), nil
		}
	}
	return "", errors.New("resolv.conf names no server")
}

// askOne asks one question after the other on one socket and returns each answer's time in milliseconds.
func askOne(server, name string, id uint16, until time.Time) ([]float64, error) {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until.Add(2 * time.Second)); err != nil {
		return nil, err
	}
	var times []float64
	answer := make([]byte, 1500)
	for time.Now().Before(until) {
		id += 16 // the lower four bits tell the sockets apart
		begin := time.Now()
		if _, err := conn.Write(question(name, id)); err != nil {
			return nil, err
		}
		n, err := conn.Read(answer)
		if err != nil {
			return nil, err
		}
		if err := checkAnswer(answer[:n], id); err != nil {
			return nil, err
		}
		times = append(times, measure.Milliseconds(time.Since(begin)))
	}
	return times, nil
}

// question is a query for the A record of a name.
func question(name string, id uint16) []byte {
	message := binary.BigEndian.AppendUint16(nil, id)
	message = append(message, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // recursion desired, one question
	for label := range strings.SplitSeq(name, ".") {
		message = append(message, byte(len(label)))
		message = append(message, label...)
	}
	return append(message, 0, 0, 1, 0, 1) // the end of the name, type A, class IN
}

// checkAnswer demands a response to the question that holds at least one record.
func checkAnswer(message []byte, id uint16) error {
	switch {
	case len(message) < 12:
		return fmt.Errorf("an answer of %d bytes", len(message))
	case binary.BigEndian.Uint16(message) != id:
		return errors.New("an answer to another question")
	case message[2]&0x80 == 0, message[3]&0x0f != 0:
		return fmt.Errorf("the resolver refused: code %d", message[3]&0x0f)
	case binary.BigEndian.Uint16(message[6:]) == 0:
		return errors.New("an answer without a record")
	}
	return nil
}
