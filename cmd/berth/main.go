// Command berth is the client of Berth: it has the commands, flags and output of docker.
package main

import (
	"context"
	"os"

	"github.com/berth-engine/berth/cli"
	"github.com/berth-engine/berth/lib/version"
)

func main() {
	os.Exit(cli.Run(context.Background(), cli.Options{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Version: version.Version, Commit: version.Commit, Built: version.Built,
	}))
}
