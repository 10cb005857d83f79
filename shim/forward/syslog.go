package forward

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"

	"github.com/berth-engine/berth/core/logopt"
)

// Severities of RFC 5424, table 2, which GELF and the journal use too.
const (
	severityError = 3
	severityInfo  = 6
)

func severity(stderr bool) int {
	if stderr {
		return severityError
	}
	return severityInfo
}

type syslog struct {
	*logopt.SyslogServer
	tunnel  string
	head    [2][]byte // what stands before the time, for stdout and stderr
	layout  string    // of the time
	middle  []byte    // what stands between time and line
	counted bool      // each message has its length in front (RFC 5425)
}

// newSyslog prepares what is the same in every message. Where there is room for a program's name and number stand the
// tag and the shim's.
func newSyslog(s *logopt.SyslogServer, tunnel string) *syslog {
	d := &syslog{SyslogServer: s, tunnel: tunnel}
	pid := strconv.Itoa(os.Getpid())
	version := ""
	switch s.Format {
	case "rfc5424", "rfc5424micro":
		version = "1 "
		d.layout = "2006-01-02T15:04:05Z07:00"
		if s.Format == "rfc5424micro" {
			d.layout = "2006-01-02T15:04:05.000000Z07:00"
		}
		d.middle = []byte(" " + s.Hostname + " " + s.Tag + " " + pid + " " + s.Tag + " - ")
		d.counted = s.TLS != nil
	case "rfc3164":
		d.layout = "Jan _2 15:04:05"
		d.middle = []byte(" " + s.Hostname + " " + s.Tag + "[" + pid + "]: ")
	default:
		d.layout = "Jan _2 15:04:05"
		d.middle = []byte(" " + s.Tag + "[" + pid + "]: ")
	}
	for i := range d.head {
		d.head[i] = []byte("<" + strconv.Itoa(s.Facility<<3|severity(i == 1)) + ">" + version)
	}
	return d
}

func (d *syslog) encode(buffer []byte, r *record) []byte {
	if len(r.line) == 0 {
		return buffer
	}
	head := d.head[0]
	if r.stderr {
		head = d.head[1]
	}
	at := r.at.Local()
	if d.counted {
		var stamp [40]byte
		length := len(head) + len(at.AppendFormat(stamp[:0], d.layout)) + len(d.middle) + len(r.line) + 1
		buffer = strconv.AppendInt(buffer, int64(length), 10)
		buffer = append(buffer, ' ')
	}
	buffer = append(buffer, head...)
	buffer = at.AppendFormat(buffer, d.layout)
	buffer = append(buffer, d.middle...)
	buffer = append(buffer, r.line...)
	return append(buffer, '\n')
}

// local are the sockets of the host's own syslog.
var local = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

func (d *syslog) dial(ctx context.Context) (link, error) {
	if d.Network == "" {
		for _, path := range local {
			for _, network := range []string{"unixgram", "unix"} {
				if conn, err := (&net.Dialer{}).DialContext(ctx, network, path); err == nil {
					return linkOf(conn, network), nil
				}
			}
		}
		return nil, errors.New("Unix syslog delivery error")
	}
	conn, err := connect(ctx, d.Address, d.tunnel)
	if err != nil {
		return nil, err
	}
	return linkOf(conn, d.Network), nil
}

func linkOf(conn net.Conn, network string) link {
	if network == "tcp" || network == "unix" {
		return newStream(conn)
	}
	return &packets{Conn: conn}
}
