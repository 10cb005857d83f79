package core

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// Error is a sentence for the user with a class of containerd/errdefs, from which the API derives its status.
// Sentences that Docker has too are Docker's word for word: scripts match on them.
type Error struct {
	class error
	text  string
	cause error
}

func (e *Error) Error() string { return e.text }

// Unwrap gives the class and, where there is one, the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.class}
	}
	return []error{e.class, e.cause}
}

func sentence(class error, format string, args []any) error {
	wrapped := fmt.Errorf(format, args...)
	e := &Error{class: class, text: wrapped.Error()}
	if _, ok := wrapped.(interface{ Unwrap() error }); ok {
		e.cause = wrapped
	}
	return e
}

// NotFound is a 404.
func NotFound(format string, args ...any) error { return sentence(errdefs.ErrNotFound, format, args) }

// Conflict is a 409.
func Conflict(format string, args ...any) error { return sentence(errdefs.ErrConflict, format, args) }

// Invalid is a 400.
func Invalid(format string, args ...any) error {
	return sentence(errdefs.ErrInvalidArgument, format, args)
}

// Forbidden is a 403.
func Forbidden(format string, args ...any) error {
	return sentence(errdefs.ErrPermissionDenied, format, args)
}

// Unauthorized is a 401.
func Unauthorized(format string, args ...any) error {
	return sentence(errdefs.ErrUnauthenticated, format, args)
}

// NotModified is a 304: the object is already as asked.
func NotModified(format string, args ...any) error {
	return sentence(errdefs.ErrNotModified, format, args)
}

// NotImplemented is a 501: Berth does not have this yet.
func NotImplemented(format string, args ...any) error {
	return sentence(errdefs.ErrNotImplemented, format, args)
}

// Unavailable is a 503.
func Unavailable(format string, args ...any) error {
	return sentence(errdefs.ErrUnavailable, format, args)
}

// Internal is a 500: the fault is ours or the machine's.
func Internal(format string, args ...any) error { return sentence(errdefs.ErrInternal, format, args) }

// NoSuchContainer is Docker's answer for a name or ID that is not there.
func NoSuchContainer(ref string) error { return NotFound("No such container: %s", ref) }

// NoSuchExec is Docker's answer for an exec ID that is not there.
func NoSuchExec(id string) error { return NotFound("No such exec instance: %s", id) }

// NoSuchImage is Docker's answer for a reference that is not there.
func NoSuchImage(ref string) error { return NotFound("No such image: %s", ref) }

// NoSuchNetwork is Docker's answer for a network that is not there.
func NoSuchNetwork(ref string) error { return NotFound("network %s not found", ref) }

// NoSuchVolume is Docker's answer for a volume that is not there.
func NoSuchVolume(name string) error { return NotFound("get %s: no such volume", name) }

// NotRunning is Docker's answer when a command needs a process that is not there.
func NotRunning(id ContainerID) error { return Conflict("container %s is not running", id) }

// Paused is Docker's answer when a paused container can't do what was asked.
func Paused(ref string) error {
	return Conflict("Container %s is paused, unpause the container before exec", ref)
}

// NameInUse is Docker's answer when another container has the name.
func NameInUse(name string, by ContainerID) error {
	return Conflict("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, by)
}
