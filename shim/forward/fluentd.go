package forward

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/berth-engine/berth/core/logopt"
)

// fluentd speaks version 1 of the Fluentd Forward Protocol: a batch is one message in Forward Mode, an array of the tag,
// the entries and options, in MessagePack.
type fluentd struct {
	*logopt.FluentdServer
	tunnel string
	fields []byte // the pairs that every entry has
	count  int
}

func newFluentd(s *logopt.FluentdServer, tunnel string) *fluentd {
	d := &fluentd{FluentdServer: s, tunnel: tunnel}
	for _, key := range slices.Sorted(maps.Keys(s.Fields)) {
		if key == "source" || key == "log" {
			continue // these two are the line's
		}
		d.fields = appendText(appendText(d.fields, key), s.Fields[key])
		d.count++
	}
	return d
}

// encode appends an entry: [time, {field: value, …}].
func (d *fluentd) encode(buffer []byte, r *record) []byte {
	buffer = append(buffer, 0x92)
	if d.SubSecond { // EventTime, extension type 0
		buffer = append(buffer, 0xd7, 0)
		buffer = binary.BigEndian.AppendUint32(buffer, uint32(r.at.Unix()))
		buffer = binary.BigEndian.AppendUint32(buffer, uint32(r.at.Nanosecond()))
	} else {
		buffer = binary.BigEndian.AppendUint32(append(buffer, 0xce), uint32(r.at.Unix()))
	}
	pairs := d.count + 2
	if r.part.id != "" {
		pairs += 4
	}
	buffer = binary.BigEndian.AppendUint16(append(buffer, 0xde), uint16(pairs))
	buffer = append(buffer, d.fields...)
	source := "stdout"
	if r.stderr {
		source = "stderr"
	}
	buffer = appendText(appendText(buffer, "source"), source)
	buffer = appendText(appendText(buffer, "log"), r.line)
	if r.part.id != "" {
		buffer = appendText(appendText(buffer, "partial_message"), "true")
		buffer = appendText(appendText(buffer, "partial_id"), r.part.id)
		buffer = appendText(appendText(buffer, "partial_ordinal"), strconv.Itoa(r.part.ordinal))
		buffer = appendText(appendText(buffer, "partial_last"), strconv.FormatBool(r.part.last))
	}
	return buffer
}

// appendText writes a string of MessagePack.
func appendText[T string | []byte](buffer []byte, s T) []byte {
	switch n := len(s); {
	case n < 32:
		buffer = append(buffer, 0xa0|byte(n))
	case n < 1<<8:
		buffer = append(buffer, 0xd9, byte(n))
	case n < 1<<16:
		buffer = binary.BigEndian.AppendUint16(append(buffer, 0xda), uint16(n))
	default:
		buffer = binary.BigEndian.AppendUint32(append(buffer, 0xdb), uint32(n))
	}
	return append(buffer, s...)
}

func (d *fluentd) dial(ctx context.Context) (link, error) {
	conn, err := connect(ctx, d.Address, d.tunnel)
	if err != nil {
		return nil, err
	}
	l := &entries{fluentd: d, since: time.Now()}
	if d.RequestAck {
		l.stream = &stream{Conn: conn} // the answers are read by send
	} else {
		l.stream = newStream(conn)
	}
	l.stream.timeout = d.WriteTimeout
	return l, nil
}

// entries is a link that sends batches.
type entries struct {
	*fluentd
	*stream
	since  time.Time
	buffer []byte
}

// most is how many entries go in one message, and ackTime how long the server may take to acknowledge it.
const (
	most    = 1000
	ackTime = 60 * time.Second
)

var errTired = errors.New("the connection is made anew")

// send sends whole messages: an entry of one that was not sent to its end, or not acknowledged, is sent again.
func (l *entries) send(data []byte, ends []int) (int, error) {
	begin := 0
	for done := 0; done < len(ends); done += min(most, len(ends)-done) {
		if l.ReconnectInterval > 0 && time.Since(l.since) > l.ReconnectInterval {
			return done, errTired
		}
		part := ends[done:min(done+most, len(ends))]
		end := part[len(part)-1]
		if err := l.message(data[begin:end], len(part)); err != nil {
			return done, err
		}
		begin = end
	}
	return len(ends), nil
}

func (l *entries) message(data []byte, count int) error {
	b := append(l.buffer[:0], 0x93)
	b = appendText(b, l.Tag)
	b = binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(count))
	b = append(b, data...)
	chunk := ""
	if l.RequestAck {
		id := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rand.Uint64()), rand.Uint64())
		chunk = base64.StdEncoding.EncodeToString(id)
		b = append(b, 0x82)
		b = appendText(appendText(b, "chunk"), chunk)
	} else {
		b = append(b, 0x81)
	}
	b = appendText(b, "size")
	b = binary.BigEndian.AppendUint32(append(b, 0xce), uint32(count))
	l.buffer = b
	if _, err := l.stream.send(b, []int{len(b)}); err != nil || chunk == "" {
		return err
	}
	return acknowledged(l.Conn, chunk)
}

// acknowledged reads the answer {"ack": chunk}.
func acknowledged(conn net.Conn, chunk string) error {
	if err := conn.SetReadDeadline(time.Now().Add(ackTime)); err != nil {
		return err
	}
	want := appendText(appendText([]byte{0x81}, "ack"), chunk)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("no acknowledgement: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("the log server acknowledges something else")
	}
	return nil
}
