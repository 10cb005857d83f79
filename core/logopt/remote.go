package logopt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

// Address is where a server listens. Network is tcp, udp, unix or unixgram.
type Address struct {
	Network string `json:"network"`
	Address string `json:"address"`
	TLS     *TLS   `json:"tls,omitempty"`
}

// TLS says how a connection is secured; the fields but the last are paths on the host.
type TLS struct {
	CA         string `json:"ca,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	SkipVerify bool   `json:"skip_verify,omitempty"`
}

// SyslogServer takes messages of RFC 3164 or RFC 5424. An empty Address is the host's own syslog.
type SyslogServer struct {
	Address
	Facility int    `json:"facility"` // 0 to 23
	Format   string `json:"format"`   // "", rfc3164, rfc5424, rfc5424micro
	Hostname string `json:"hostname"`
	Tag      string `json:"tag"`
}

// GELFServer takes messages of the Graylog Extended Log Format 1.1.
type GELFServer struct {
	Address
	Compression string `json:"compression,omitempty"` // gzip, zlib, none; udp only
	Level       int    `json:"level"`                 // of the compression: -1 to 9
	// MaxReconnect is how many attempts to connect again may fail before what waits is given up; negative: any number.
	MaxReconnect   int             `json:"max_reconnect"`
	ReconnectDelay time.Duration   `json:"reconnect_delay"` // 0: growing
	Hostname       string          `json:"hostname"`
	Fields         json.RawMessage `json:"fields"` // an object: what each message carries
}

// FluentdServer takes entries of the Fluentd Forward Protocol 1.
type FluentdServer struct {
	Address
	// Async: the container neither waits for the server at its start nor for room in the buffer.
	Async             bool              `json:"async,omitempty"`
	ReconnectInterval time.Duration     `json:"reconnect_interval,omitempty"` // after which a connection is made anew; 0: never
	BufferLimit       int               `json:"buffer_limit"`                 // entries
	MaxRetries        int               `json:"max_retries"`
	RetryWait         time.Duration     `json:"retry_wait"` // before the first retry; then growing
	SubSecond         bool              `json:"sub_second,omitempty"`
	RequestAck        bool              `json:"request_ack,omitempty"`
	WriteTimeout      time.Duration     `json:"write_timeout,omitempty"`
	Tag               string            `json:"tag"`
	Fields            map[string]string `json:"fields"`
}

// JournaldServer takes fields by systemd's native protocol. Socket empty: the usual one.
type JournaldServer struct {
	Socket string            `json:"socket,omitempty"`
	Fields map[string]string `json:"fields"`
}

// facilities are the names of RFC 5424, table 1, as syslog(3) has them.
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

func syslog(options map[string]string) (*Remote, error) {
	s := &SyslogServer{Facility: facilities["daemon"], Format: options["syslog-format"]}
	var err error
	if s.Address, err = syslogAddress(options); err != nil {
		return nil, err
	}
	if name := options["syslog-facility"]; name != "" {
		number, named := facilities[name]
		if !named {
			if number, err = strconv.Atoi(name); err != nil || number < 0 || number > 23 {
				return nil, errors.New("invalid syslog facility")
			}
		}
		s.Facility = number
	}
	switch s.Format {
	case "", "rfc3164", "rfc5424", "rfc5424micro":
	default:
		return nil, errors.New("Invalid syslog format")
	}
	return &Remote{Syslog: s}, nil
}

func syslogAddress(options map[string]string) (a Address, err error) {
	text := options["syslog-address"]
	if text == "" {
		return a, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return a, err
	}
	switch u.Scheme {
	case "unix", "unixgram":
		if _, err := os.Stat(u.Path); err != nil {
			return a, err
		}
		return Address{Network: u.Scheme, Address: u.Path}, nil
	case "udp", "tcp":
		a.Network = u.Scheme
	case "tcp+tls":
		_, skip := options["syslog-tls-skip-verify"]
		a.Network = "tcp"
		a.TLS = &TLS{CA: options["syslog-tls-ca-cert"], Cert: options["syslog-tls-cert"], Key: options["syslog-tls-key"], SkipVerify: skip}
	default:
		return a, fmt.Errorf("unsupported scheme: '%s'", u.Scheme)
	}
	a.Address = u.Host
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		if !strings.Contains(err.Error(), "missing port in address") {
			return a, err
		}
		a.Address = net.JoinHostPort(strings.Trim(u.Host, "[]"), "514")
	}
	return a, nil
}

func gelf(options map[string]string) (*Remote, error) {
	text := options["gelf-address"]
	if text == "" {
		return nil, errors.New("gelf-address is a required parameter")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "udp" && u.Scheme != "tcp" {
		return nil, errors.New("gelf: endpoint needs to be TCP or UDP")
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil {
		return nil, errors.New("gelf: please provide gelf-address as proto://host:port")
	}
	g := &GELFServer{Address: Address{Network: u.Scheme, Address: u.Host}, Compression: "gzip", Level: 1, MaxReconnect: -1}
	if value, ok := options["gelf-compression-type"]; ok {
		if u.Scheme != "udp" {
			return nil, errors.New("compression is only supported on UDP")
		}
		if value != "gzip" && value != "zlib" && value != "none" {
			return nil, fmt.Errorf("unknown value %q for log opt %q for gelf log driver", value, "gelf-compression-type")
		}
		g.Compression = value
	}
	if value, ok := options["gelf-compression-level"]; ok {
		if u.Scheme != "udp" {
			return nil, errors.New("compression is only supported on UDP")
		}
		if g.Level, err = strconv.Atoi(value); err != nil || g.Level < -1 || g.Level > 9 {
			return nil, fmt.Errorf("unknown value %q for log opt %q for gelf log driver", value, "gelf-compression-level")
		}
	}
	for _, key := range []string{"gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"} {
		value, ok := options[key]
		if !ok {
			continue
		}
		if u.Scheme != "tcp" {
			return nil, fmt.Errorf("%q is only valid for TCP", key)
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q must be a positive integer", key)
		}
		if key == "gelf-tcp-max-reconnect" {
			g.MaxReconnect = n
		} else {
			g.ReconnectDelay = time.Duration(n) * time.Second
		}
	}
	return &Remote{GELF: g}, nil
}

// The bounds of fluentd-async-reconnect-interval.
const (
	minReconnect = 100 * time.Millisecond
	maxReconnect = 10 * time.Second
)

func fluentd(options map[string]string) (*Remote, error) {
	f := &FluentdServer{BufferLimit: 1 << 20, MaxRetries: math.MaxInt32}
	var err error
	if f.Address, err = fluentdAddress(options["fluentd-address"]); err != nil {
		return nil, fmt.Errorf("invalid fluentd-address (%s): %w", options["fluentd-address"], err)
	}
	if text := options["fluentd-buffer-limit"]; text != "" {
		limit, err := units.RAMInBytes(text)
		if err != nil {
			return nil, err
		}
		f.BufferLimit = int(max(limit, 1))
	}
	if f.RetryWait, err = duration(options, "fluentd-retry-wait", time.Second); err != nil {
		return nil, err
	}
	if text := options["fluentd-max-retries"]; text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, err
		}
		if n > math.MaxInt32 {
			return nil, errors.New("invalid fluentd-max-retries: value out of range")
		}
		f.MaxRetries = int(n)
	}
	for key, to := range map[string]*bool{"fluentd-async": &f.Async, "fluentd-sub-second-precision": &f.SubSecond, "fluentd-request-ack": &f.RequestAck} {
		if *to, err = truth(options, key, false); err != nil {
			return nil, err
		}
	}
	const interval, timeout = "fluentd-async-reconnect-interval", "fluentd-write-timeout"
	if f.ReconnectInterval, err = duration(options, interval, 0); err != nil {
		return nil, fmt.Errorf("invalid value for %s: %w", interval, err)
	}
	if d := f.ReconnectInterval; d != 0 && (d < minReconnect || d > maxReconnect) {
		return nil, fmt.Errorf("invalid value for %s: value (%q) must be between %s and %s", interval, d, minReconnect, maxReconnect)
	}
	if f.WriteTimeout, err = duration(options, timeout, 0); err != nil {
		return nil, fmt.Errorf("invalid value for %s: value must be a duration: %w", timeout, err)
	}
	if f.WriteTimeout < 0 {
		return nil, fmt.Errorf("invalid value for %s: value must be a duration that is non-negative", timeout)
	}
	return &Remote{Fluentd: f}, nil
}

func fluentdAddress(text string) (a Address, err error) {
	if !strings.Contains(text, "://") {
		text = "tcp://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return a, err
	}
	switch u.Scheme {
	case "unix":
		if strings.TrimLeft(u.Path, "/") == "" {
			return a, errors.New("path is empty")
		}
		return Address{Network: "unix", Address: u.Path}, nil
	case "tcp":
	case "tls":
		a.TLS = &TLS{}
	default:
		return a, fmt.Errorf("unsupported scheme: '%s'", u.Scheme)
	}
	if u.Path != "" {
		return a, errors.New("should not contain a path element")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "24224"
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return a, fmt.Errorf("invalid port: %w", err)
	}
	a.Network, a.Address = "tcp", net.JoinHostPort(host, port)
	return a, nil
}
