// Package compat drives berthd with genuine clients: the docker CLI and its builder buildx, built from the modules
// clients and buildx below this folder, and the Go SDK moby/moby/client. What they do against Docker they must do here,
// unchanged. One daemon serves most tests; those that look at or clean up everything have one of their own.
package compat
