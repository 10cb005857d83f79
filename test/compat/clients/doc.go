//go:build tools

// Package clients pins the genuine clients that the compatibility tests build. It is a module of its own, so that
// what Docker's CLI needs does not decide the versions of Berth's libraries.
package clients

import (
	_ "github.com/docker/cli/cmd/docker"
)
