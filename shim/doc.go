//go:build cgo

// Package shim is the process beside a container. It starts the container with libcontainer (whose only door it is),
// owns its terminal or pipes, its log file and its exit status, and goes on when the daemon is gone.
//
// A shim is started ahead of need, in its own session and mount namespace, with one end of a control socket; it then
// serves exactly one container. It mounts the container's root file system inside its own mount namespace, so that
// the kernel takes the mounts away when the shim ends, however it ends. Messages are those of shim/wire. When the
// daemon's connection breaks, an idle shim ends, and one with a container waits for the next daemon on its socket.
package shim
