//go:build tools

// Package buildx pins the genuine builder that the docker CLI of the compatibility tests runs. It is a module of its
// own, so that what it needs decides neither the versions of Berth's libraries nor those of the docker CLI.
package buildx

import (
	_ "github.com/docker/buildx/cmd/buildx"
)
