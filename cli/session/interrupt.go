package session

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Brief marks, as its annotations, a command that asks the daemon for one thing and has nothing to put in order: an
// interrupt ends it as it ends any program. To listen for one takes a tenth of the time of such a command.
var Brief = map[string]string{"brief": "true"}

// IsBrief reports whether a command has the mark.
func IsBrief(cmd *cobra.Command) bool { return cmd.Annotations["brief"] != "" }

// Watch ends the context at the first interrupt, until Unwatch. Who sends three wants out, whatever the command thinks of
// it: a container that ignores them runs on without us.
func (s *Session) Watch(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	arrived := make(chan os.Signal, 3)
	over := make(chan struct{})
	signal.Notify(arrived, os.Interrupt, syscall.SIGTERM)
	go func() {
		for count := 1; ; count++ {
			select {
			case <-over:
				return
			case <-arrived:
				cancel()
			}
			if count < 3 {
				continue
			}
			err := s.In.Restore()
			fmt.Fprintln(s.Err, "\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
			if err != nil {
				fmt.Fprintln(s.Err, err)
			}
			os.Exit(1)
		}
	}()
	s.watched = ctx
	s.unwatch = func() {
		signal.Stop(arrived)
		close(over)
		cancel()
	}
	return ctx
}

// Interrupted reports whether the context of Watch has ended.
func (s *Session) Interrupted() bool { return s.watched != nil && s.watched.Err() != nil }

// Unwatch undoes Watch.
func (s *Session) Unwatch() {
	if s.unwatch != nil {
		s.unwatch()
	}
}
