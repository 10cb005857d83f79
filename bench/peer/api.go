package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// API speaks the Engine API with as little of its own as can be, so that what it measures is the engine.
type API struct {
	network, address string
	version          string // the path of the version that was agreed on; empty: none yet
	http             *http.Client
}

// NewAPI reads unix://PATH or tcp://ADDRESS:PORT. Nothing is connected yet.
func NewAPI(host string) (*API, error) {
	network, address, found := strings.Cut(host, "://")
	if !found || network != "unix" && network != "tcp" {
		return nil, fmt.Errorf("host %q: only unix:// and tcp:// can be measured", host)
	}
	c := &API{network: network, address: address}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		DisableCompression: true,
	}}
	return c, nil
}

// do sends one request and demands a status below 300. The body is decoded into reply unless that is nil.
func (c *API) do(ctx context.Context, method, path string, body io.Reader, reply any) error {
	response, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if reply == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	return json.NewDecoder(response.Body).Decode(reply)
}

// send sends one request; the caller closes the body of the response.
func (c *API) send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://engine"+c.version+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", kind)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		text, err := io.ReadAll(io.LimitReader(response.Body, 1000))
		return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text))), err, response.Body.Close())
	}
	return response, nil
}

// Ping asks whether the engine answers, and from then on speaks the newest version that both know.
func (c *API) Ping(ctx context.Context) error {
	c.version = ""
	response, err := c.send(ctx, http.MethodGet, "/_ping", "", nil)
	if err != nil {
		return err
	}
	c.version = commonVersion(response.Header.Get("Api-Version"))
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// newestMinor is the newest version of the API, 1.44, that the bench was written for.
const newestMinor = 44

// commonVersion is the path of the newest version that an engine's header allows.
func commonVersion(header string) string {
	text, known := strings.CutPrefix(header, "1.")
	minor, err := strconv.Atoi(text)
	if !known || err != nil || minor > newestMinor {
		minor = newestMinor
	}
	return fmt.Sprintf("/v1.%d", minor)
}

// listener is the process that opened the socket's other end (SO_PEERCRED of unix(7)).
func (c *API) listener() (int, error) {
	if c.network != "unix" {
		return 0, errors.New("only a UNIX socket tells who listens")
	}
	conn, err := net.Dial("unix", c.address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("a connection to %s is of type %T", c.address, conn)
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *syscall.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) {
		credentials, failure = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, failure); err != nil {
		return 0, err
	}
	return int(credentials.Pid), nil
}

// Definition is the little of a container's definition that the bench needs.
type Definition struct {
	Image      string
	Cmd        []string
	Labels     map[string]string
	HostConfig hostConfig
}

type hostConfig struct {
	NetworkMode string
}

func (c *API) Create(ctx context.Context, request Definition) (string, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	var reply struct {
		ID string `json:"Id"`
	}
	if err := c.do(ctx, http.MethodPost, "/containers/create", bytes.NewReader(body), &reply); err != nil {
		return "", err
	}
	if reply.ID == "" {
		return "", errors.New("create answered without a container's number")
	}
	return reply.ID, nil
}

func (c *API) Start(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodPost, "/containers/"+id+"/start", nil, nil)
}

// Wait returns the exit code when the container does not run any more.
func (c *API) Wait(ctx context.Context, id string) (int, error) {
	var reply struct{ StatusCode int }
	err := c.do(ctx, http.MethodPost, "/containers/"+id+"/wait", nil, &reply)
	return reply.StatusCode, err
}

func (c *API) Remove(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/containers/"+id+"?force=1&v=1", nil, nil)
}

// Build sends a context to the classic endpoint and returns what the stream of messages said.
func (c *API) Build(ctx context.Context, tag, label string, contextTar io.Reader) (string, error) {
	query := url.Values{"t": {tag}, "version": {"1"}, "labels": {`{"` + label + `":""}`}, "rm": {"1"}}
	response, err := c.send(ctx, http.MethodPost, "/build?"+query.Encode(), "application/x-tar", contextTar)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var log strings.Builder
	messages := json.NewDecoder(response.Body)
	for {
		var message struct {
			Stream string `json:"stream"`
			Error  string `json:"error"`
		}
		err := messages.Decode(&message)
		if errors.Is(err, io.EOF) {
			return log.String(), nil
		}
		if err != nil {
			return "", err
		}
		if message.Error != "" {
			return "", errors.New(message.Error)
		}
		log.WriteString(message.Stream)
	}
}

// caches are the numbers of the build cache's records.
func (c *API) caches(ctx context.Context) (map[string]bool, error) {
	var usage struct {
		BuildCache []struct{ ID string }
	}
	if err := c.do(ctx, http.MethodGet, "/system/df?type=build-cache", nil, &usage); err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, record := range usage.BuildCache {
		ids[record.ID] = true
	}
	return ids, nil
}

func (c *API) pruneCache(ctx context.Context, id string) error {
	filter, err := json.Marshal(map[string]map[string]bool{"id": {id: true}})
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, "/build/prune?all=1&filters="+url.QueryEscape(string(filter)), nil, nil)
}
