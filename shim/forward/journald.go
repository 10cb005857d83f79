package forward

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/berth-engine/berth/core/logopt"
	"github.com/berth-engine/berth/lib/id"
)

// journalSocket is where systemd-journald listens.
const journalSocket = "/run/systemd/journal/socket"

// journald speaks the native protocol of the systemd journal (systemd's docs/JOURNAL_NATIVE_PROTOCOL): a datagram of
// fields.
type journald struct {
	socket  string
	fields  []byte // what every entry has
	ordinal uint64
}

func newJournald(s *logopt.JournaldServer) *journald {
	d := &journald{socket: s.Socket}
	if d.socket == "" {
		d.socket = journalSocket
	}
	for _, key := range slices.Sorted(maps.Keys(s.Fields)) {
		d.fields = appendField(d.fields, key, []byte(s.Fields[key]))
	}
	d.fields = appendField(d.fields, "CONTAINER_LOG_EPOCH", []byte(id.New()))
	return d
}

// appendField writes a field: in the form with a length where the value has lines.
func appendField(buffer []byte, key string, value []byte) []byte {
	buffer = append(buffer, key...)
	if bytes.IndexByte(value, '\n') < 0 {
		buffer = append(buffer, '=')
	} else {
		buffer = binary.LittleEndian.AppendUint64(append(buffer, '\n'), uint64(len(value)))
	}
	buffer = append(buffer, value...)
	return append(buffer, '\n')
}

func (d *journald) encode(buffer []byte, r *record) []byte {
	d.ordinal++
	buffer = appendField(buffer, "MESSAGE", r.line)
	buffer = appendField(buffer, "PRIORITY", strconv.AppendInt(nil, int64(severity(r.stderr)), 10))
	buffer = append(buffer, d.fields...)
	buffer = appendField(buffer, "SYSLOG_TIMESTAMP", r.at.AppendFormat(nil, time.RFC3339Nano))
	buffer = appendField(buffer, "CONTAINER_LOG_ORDINAL", strconv.AppendUint(nil, d.ordinal, 10))
	if r.part.id != "" {
		buffer = appendField(buffer, "CONTAINER_PARTIAL_ID", []byte(r.part.id))
		buffer = appendField(buffer, "CONTAINER_PARTIAL_ORDINAL", strconv.AppendInt(nil, int64(r.part.ordinal), 10))
		buffer = appendField(buffer, "CONTAINER_PARTIAL_LAST", strconv.AppendBool(nil, r.part.last))
		if !r.part.last {
			buffer = appendField(buffer, "CONTAINER_PARTIAL_MESSAGE", []byte("true"))
		}
	}
	return buffer
}

func (d *journald) dial(ctx context.Context) (link, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unixgram", d.socket)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("journald is not enabled on this host")
	}
	if err != nil {
		return nil, err
	}
	return &packets{Conn: conn}, nil
}
