package build

import (
	"context"
	"fmt"
	"io"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/grpc/metadata"
)

// stream stands in for a gRPC stream where we call BuildKit's controller directly: what the controller sends arrives in
// a channel. The context lives as long as the one call that it is made for.
type stream[T any] struct {
	ctx context.Context
	out chan<- T
}

// Context is that of the call.
func (s stream[T]) Context() context.Context { return s.ctx }

// SetHeader, SendHeader and SetTrailer have no one to go to.
func (s stream[T]) SetHeader(metadata.MD) error  { return nil }
func (s stream[T]) SendHeader(metadata.MD) error { return nil }
func (s stream[T]) SetTrailer(metadata.MD)       {}

// RecvMsg is never called: these calls have one request, which was an argument.
func (s stream[T]) RecvMsg(any) error { return io.EOF }

// SendMsg hands a message over and waits until it is taken or the call is over.
func (s stream[T]) SendMsg(message any) error {
	typed, ok := message.(T)
	if !ok {
		return fmt.Errorf("unexpected message %T", message)
	}
	select {
	case s.out <- typed:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

type pruneStream struct {
	stream[*controlapi.UsageRecord]
}

// Send implements Control_PruneServer.
func (s pruneStream) Send(record *controlapi.UsageRecord) error { return s.SendMsg(record) }

type statusStream struct {
	stream[*controlapi.StatusResponse]
}

// Send implements Control_StatusServer.
func (s statusStream) Send(response *controlapi.StatusResponse) error { return s.SendMsg(response) }
