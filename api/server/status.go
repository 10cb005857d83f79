package server

import (
	"net/http"

	"github.com/containerd/errdefs"
)

// statuses is the table from classes of errors to status codes.
var statuses = []struct {
	class error
	code  int
}{
	{errdefs.ErrNotFound, http.StatusNotFound},
	{errdefs.ErrInvalidArgument, http.StatusBadRequest},
	{errdefs.ErrConflict, http.StatusConflict},
	{errdefs.ErrAlreadyExists, http.StatusConflict},
	{errdefs.ErrFailedPrecondition, http.StatusBadRequest},
	{errdefs.ErrOutOfRange, http.StatusBadRequest},
	{errdefs.ErrAborted, http.StatusConflict},
	{errdefs.ErrResourceExhausted, http.StatusTooManyRequests},
	{errdefs.ErrUnauthenticated, http.StatusUnauthorized},
	{errdefs.ErrUnavailable, http.StatusServiceUnavailable},
	{errdefs.ErrPermissionDenied, http.StatusForbidden},
	{errdefs.ErrNotModified, http.StatusNotModified},
	{errdefs.ErrNotImplemented, http.StatusNotImplemented},
}

// statusOf is the status of the outermost class in a chain of errors; an error without class is our own fault.
func statusOf(err error) int {
	class := errdefs.Resolve(err)
	for _, row := range statuses {
		if class == row.class {
			return row.code
		}
	}
	return http.StatusInternalServerError
}
