package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
)

// Error is a refusal by the daemon. Its text begins with words that scripts look for.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return "Error response from daemon: " + e.Message }

// IsNotFound reports whether the daemon said that there is no such thing.
func IsNotFound(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound
}

// IsNotImplemented reports whether the daemon does not have what was asked for.
func IsNotImplemented(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status == http.StatusNotImplemented
}

// Message is the sentence of a refusal without its prefix, or the text of any other error.
func Message(err error) string {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Message
	}
	return err.Error()
}

func refusal(resp *http.Response) error {
	defer resp.Body.Close()
	const limit = 1 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return &Error{Status: resp.StatusCode, Message: fmt.Sprintf("%s (and its reason could not be read: %v)", resp.Status, err)}
	}
	var body struct {
		Message string `json:"message"`
	}
	message := strings.TrimSpace(string(text))
	if json.Unmarshal(text, &body) == nil && body.Message != "" {
		message = strings.TrimSpace(body.Message)
	}
	if message == "" {
		message = fmt.Sprintf("request returned %s for API route and version %s, check if the server supports the requested API version",
			http.StatusText(resp.StatusCode), resp.Request.URL)
	}
	return &Error{Status: resp.StatusCode, Message: message}
}

// ConnectionError says that the daemon could not be reached. Hint is what to do next.
type ConnectionError struct {
	text  string
	Hint  string
	cause error
}

func (e *ConnectionError) Error() string {
	if e.Hint == "" {
		return e.text
	}
	return e.text + "\n" + e.Hint
}

// Unwrap gives the cause.
func (e *ConnectionError) Unwrap() error { return e.cause }

func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := c.options.Host
	socket, isUnix := strings.CutPrefix(host, "unix://")
	switch {
	case isUnix && errors.Is(err, fs.ErrPermission):
		return &ConnectionError{
			text:  fmt.Sprintf("permission denied while trying to connect to the Docker daemon socket at %s: %v", host, rootCause(err)),
			Hint:  fmt.Sprintf("Become a member of the group that owns %s (usually \"berth\"), or run this command as root.", socket),
			cause: err,
		}
	case isUnix && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)),
		errors.Is(err, syscall.ECONNREFUSED):
		return &ConnectionError{
			text:  fmt.Sprintf("Cannot connect to the Docker daemon at %s. Is the docker daemon running?", host),
			Hint:  c.startHint(isUnix),
			cause: err,
		}
	case strings.HasPrefix(host, "ssh://"):
		return sshFailure(host, err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return &ConnectionError{text: fmt.Sprintf("%v.\n* Are you trying to connect to a TLS-enabled daemon without TLS?", rootCause(err)), cause: err}
	case strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "x509:"):
		return &ConnectionError{text: fmt.Sprintf("error during connect: %v", rootCause(err)),
			Hint: "Check --tlscacert, --tlscert and --tlskey (or DOCKER_CERT_PATH) against the daemon's certificate.", cause: err}
	}
	return &ConnectionError{text: fmt.Sprintf("error during connect: %v", rootCause(err)), cause: err}
}

func (c *Client) startHint(isUnix bool) string {
	if isUnix {
		return "Start it with `berthd` (or `systemctl start berth`), or point to another one with --host, BERTH_HOST or `berth context use`."
	}
	return "Check the address, and that the daemon was started with a matching --host."
}

func sshFailure(host string, err error) error {
	hint := "Try `ssh` to this address by hand; `berth` must be installed there and be found in the PATH of a login without terminal."
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &ConnectionError{text: fmt.Sprintf("Cannot connect to the Docker daemon at %s. Is the docker daemon running?", host), Hint: hint, cause: err}
	}
	return &ConnectionError{text: fmt.Sprintf("error during connect: %v", rootCause(err)), Hint: hint, cause: err}
}

// rootCause drops the address that net/http puts before the reason: the caller names it better.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		var prefix interface{ Timeout() bool }
		if !errors.As(err, &prefix) {
			return err
		}
		err = next
	}
}
