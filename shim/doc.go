//go:build cgo

// Package shim is the process beside a few containers. It starts each with libcontainer (whose only door it is), owns its
// terminal or pipes, its log file and its exit status, and goes on when the daemon is gone.
//
// A shim is started ahead of need, in its own session and mount namespace, with one end of a control socket (shared.go); on
// it the daemon opens a conversation for each container (server.go). The shim mounts a container's root file system inside
// its own mount namespace, so that the kernel takes the mounts away when the shim ends, however it ends. Messages are those
// of shim/wire. When the daemon's connections break, an idle shim ends, and one with containers waits for the next daemon
// on the socket of each.
package shim
