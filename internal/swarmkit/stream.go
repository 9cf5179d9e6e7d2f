package swarmkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// kinds are SwarmKit's words for what a snapshot is made of.
var kinds = []string{"node", "service", "network", "task", "secret", "config"}

// stream is Watch: what changes in the store of the manager that we ask.
type stream struct{ grpc.ClientStream }

// openStream returns once the manager has begun to listen, so that what changes
// from then on is not missed. With a version other than 0 it sends first what has
// changed since, which fails if it has forgotten.
func openStream(ctx context.Context, conn *grpc.ClientConn, from uint64) (*stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(callLimit, func() { cancel(errHung) })
	defer late.Stop()
	raw, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/docker.swarmkit.v1.Watch/Watch")
	s := &stream{raw}
	if err == nil {
		err = s.begin(from)
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), errHung) {
			err = errHung
		}
		cancel(err)
		return nil, fmt.Errorf("listening to SwarmKit: %w", inWords(err))
	}
	return s, nil
}

func (s *stream) begin(from uint64) error {
	request := &swarmpb.WatchRequest{}
	for _, kind := range kinds {
		request.Entries = append(request.Entries, &swarmpb.WatchRequest_Entry{Kind: kind, Action: int32(
			swarmpb.Action_ACTION_CREATE | swarmpb.Action_ACTION_UPDATE | swarmpb.Action_ACTION_REMOVE)})
	}
	if from > 0 {
		request.ResumeFrom = &swarmpb.Version{Index: from}
	}
	if err := s.SendMsg(request); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(new(swarmpb.WatchMessage)) // the empty one that says it has begun
}

// maxInbox bounds how many messages wait while lists are read.
const maxInbox = 1 << 16

// inbox keeps what comes in until it is wanted. The manager must never wait for
// us: it would keep what we do not read without any limit.
type inbox struct {
	filled chan struct{} // has an element while there may be messages

	mu       sync.Mutex
	messages []*swarmpb.WatchMessage
}

func newInbox() *inbox { return &inbox{filled: make(chan struct{}, 1)} }

// fill receives until the stream ends, and says why it did.
func (in *inbox) fill(s *stream) error {
	for {
		m := new(swarmpb.WatchMessage)
		if err := s.RecvMsg(m); err != nil {
			return fmt.Errorf("listening to SwarmKit: %w", inWords(err))
		}
		if !in.put(m) {
			return fmt.Errorf("more than %d changes wait to be looked at", maxInbox)
		}
	}
}

func (in *inbox) put(m *swarmpb.WatchMessage) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.messages) >= maxInbox {
		return false
	}
	in.messages = append(in.messages, m)
	select {
	case in.filled <- struct{}{}:
	default: // it has been said
	}
	return true
}

func (in *inbox) take() []*swarmpb.WatchMessage {
	in.mu.Lock()
	defer in.mu.Unlock()
	messages := in.messages
	in.messages = nil
	return messages
}
