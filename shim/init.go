//go:build cgo

package shim

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/opencontainers/runc/libcontainer"
	// The C part of libcontainer's init, which enters namespaces before Go starts.
	_ "github.com/opencontainers/runc/libcontainer/nsenter"

	"github.com/berth-engine/berth/shim/filter"
	"github.com/berth-engine/berth/shim/wire"
)

// IsInit reports whether this process is libcontainer's init: the binary runs itself inside the new namespaces.
func IsInit() bool { return len(os.Args) > 1 && os.Args[1] == "init" }

// Init becomes the container's process. It does not return.
func Init() {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // it is over before there is garbage worth collecting
	if err := filter.Take(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(255)
	}
	libcontainer.Init()
}

// addInit puts the small init before the command. The command is looked up by it, so that an error of the name is
// its exit code 127 or 126.
func (c *container) addInit() {
	c.spec.Process.Args = append([]string{wire.InitPath, "--"}, c.spec.Process.Args...)
}
