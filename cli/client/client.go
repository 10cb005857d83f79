package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// MaxVersion is the newest version of the Docker Engine API whose shapes this client knows.
const MaxVersion = "1.56"

// Options say where the daemon is and how to introduce oneself.
type Options struct {
	// Host is unix:///path, tcp://host:port, http(s)://host:port, or ssh://[user@]host[:port][/path of socket].
	Host string
	// TLS is used on TCP when it is not nil.
	TLS *tls.Config
	// Version pins the API version ("1.44"); empty: negotiate.
	Version string
	// UserAgent introduces the client, as "Berth-Client/1.0 (linux)".
	UserAgent string
	// Headers are added to each request (HttpHeaders of the configuration file).
	Headers map[string]string
}

// Client is a connection to one daemon. It is safe for use by several goroutines.
type Client struct {
	options   Options
	dial      dialer
	http      *http.Client
	scheme    string
	authority string // what the Host header says
	basePath  string // of a tcp://host:port/path address

	mu      sync.Mutex // guards the two fields below
	version string
	settled bool // the version was pinned, or the daemon has answered in it
}

// New makes a client; nothing is dialled until the first request.
func New(options Options) (*Client, error) {
	target, err := parseHost(options)
	if err != nil {
		return nil, err
	}
	c := &Client{
		options:   options,
		dial:      target.dial,
		scheme:    target.scheme,
		authority: target.authority,
		basePath:  target.path,
		version:   MaxVersion,
	}
	if options.Version != "" {
		c.version, c.settled = options.Version, true
	}
	transport := &http.Transport{
		DisableCompression: true,
		MaxIdleConns:       8,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.dial(ctx)
		},
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.dial(ctx)
		},
	}
	c.http = &http.Client{
		Transport: transport,
		// A daemon that redirects is a proxy in its place: following with another method hides that.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Version is the API version in use: the newest, until the daemon asked for an older one.
func (c *Client) Version() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// Get asks for a JSON document.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	return c.Call(ctx, http.MethodGet, path, query, nil, out)
}

// Post sends a JSON document (nil: none) and reads one (nil: none).
func (c *Client) Post(ctx context.Context, path string, query url.Values, in, out any) error {
	return c.Call(ctx, http.MethodPost, path, query, in, out)
}

// Delete removes something.
func (c *Client) Delete(ctx context.Context, path string, query url.Values, out any) error {
	return c.Call(ctx, http.MethodDelete, path, query, nil, out)
}

// Call sends a JSON document (nil: none) and reads one (nil: none).
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	resp, err := c.Send(ctx, Request{Method: method, Path: path, Query: query, JSON: in})
	if err != nil {
		return err
	}
	defer closeBody(resp)
	if out == nil {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw, err = io.ReadAll(resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the daemon's answer to %s %s is not what was expected: %w", method, path, err)
	}
	return nil
}

// Request is one call. At most one of JSON and Body is set.
type Request struct {
	Method string
	Path   string // without the version: "/containers/json"
	Query  url.Values
	JSON   any
	Body   io.Reader // a stream; can be read once only, so the version is settled before it is sent
	Type   string    // content type of Body
	Header http.Header
	// MinVersion refuses the call when the daemon is older; Feature names what is wanted.
	MinVersion, Feature string
}

// Send makes the call and gives an answer whose status is a success; the caller closes its body. Refusals are *Error.
func (c *Client) Send(ctx context.Context, r Request) (*http.Response, error) {
	payload, err := encode(r.JSON)
	if err != nil {
		return nil, err
	}
	if r.Body != nil || r.MinVersion != "" {
		if err := c.settle(ctx); err != nil {
			return nil, err
		}
	}
	if r.MinVersion != "" && older(c.Version(), r.MinVersion) {
		return nil, fmt.Errorf("%s requires API version %s, but the Docker daemon API version is %s", r.Feature, r.MinVersion, c.Version())
	}
	for {
		resp, err := c.once(ctx, r, payload)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 400 {
			c.answered()
			return resp, nil
		}
		if c.stepDown(resp) {
			closeBody(resp)
			continue
		}
		return nil, refusal(resp)
	}
}

func (c *Client) once(ctx context.Context, r Request, payload []byte) (*http.Response, error) {
	var body io.Reader
	switch {
	case r.Body != nil:
		body = r.Body
	case payload != nil:
		body = bytes.NewReader(payload)
	}
	req, err := c.request(ctx, r, body, payload != nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, r Request, body io.Reader, isJSON bool) (*http.Request, error) {
	address := c.scheme + "://" + c.authority + c.basePath + "/v" + c.Version() + r.Path
	if len(r.Query) > 0 {
		address += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, address, body)
	if err != nil {
		return nil, err
	}
	for name, value := range c.options.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("User-Agent", c.options.UserAgent)
	if isJSON {
		req.Header.Set("Content-Type", "application/json")
	} else if r.Type != "" {
		req.Header.Set("Content-Type", r.Type)
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	return req, nil
}

func encode(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// answered notes that the daemon has answered: the version that was just spoken is the right one from now on.
func (c *Client) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
}

// stepDown reports whether the refusal was about a version that is too new, having taken the daemon's own.
func (c *Client) stepDown(resp *http.Response) bool {
	theirs := resp.Header.Get("Api-Version")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled || resp.StatusCode != http.StatusBadRequest || theirs == "" || !older(theirs, c.version) {
		return false
	}
	c.version, c.settled = theirs, true
	return true
}

// settle makes sure that the version is one that the daemon has, at the cost of a round trip when nothing is known.
func (c *Client) settle(ctx context.Context) error {
	c.mu.Lock()
	done := c.settled
	c.mu.Unlock()
	if done {
		return nil
	}
	return c.Ping(ctx)
}

// Ping asks whether the daemon is there, and agrees on a version.
func (c *Client) Ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.scheme+"://"+c.authority+c.basePath+"/_ping", nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", c.options.UserAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer closeBody(resp)
	if resp.StatusCode >= 400 {
		return &Error{Status: resp.StatusCode, Message: resp.Status}
	}
	pinned := c.options.Version != ""
	c.answered()
	c.mu.Lock()
	defer c.mu.Unlock()
	if theirs := resp.Header.Get("Api-Version"); !pinned && theirs != "" && older(theirs, c.version) {
		c.version = theirs
	}
	return nil
}

// closeBody reads the little that is left, so that the connection can be used again.
func closeBody(resp *http.Response) {
	if _, err := io.CopyN(io.Discard, resp.Body, 4096); err != nil && !errors.Is(err, io.EOF) {
		resp.Close = true
	}
	resp.Body.Close()
}

// older reports whether version a comes before b; both are "major.minor".
func older(a, b string) bool {
	aMajor, aMinor := split(a)
	bMajor, bMinor := split(b)
	return aMajor < bMajor || aMajor == bMajor && aMinor < bMinor
}

func split(version string) (major, minor int) {
	left, right, _ := strings.Cut(version, ".")
	major, err := strconv.Atoi(left)
	if err != nil {
		return 0, 0
	}
	minor, err = strconv.Atoi(right)
	if err != nil {
		return major, 0
	}
	return major, minor
}
