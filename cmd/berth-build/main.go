// Command berth-build is `berth build`. berth runs it with its own arguments, so that what is used all the time need not
// carry BuildKit's client along.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-engine/berth/cli/build"
	"github.com/berth-engine/berth/cli/session"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return build.Main(ctx, session.New(os.Stdin, os.Stdout, os.Stderr, version), os.Args[1:])
}
