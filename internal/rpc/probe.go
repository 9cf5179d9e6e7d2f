package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/probe"
)

// Probe knocks where a core asks it to. Whichever core asks is answered: it hurts
// nobody.
func (s *agentService) Probe(stream grpc.BidiStreamingServer[interlockv1.ProbeRequest, interlockv1.ProbeResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	questions := make(chan admission.Question)
	var sending sync.Mutex
	prober := probe.Prober{Knock: s.Knock, Accepts: func(round uint64, address netip.AddrPort) {
		sending.Lock()
		defer sending.Unlock()
		if stream.Send(&interlockv1.ProbeResponse{Address: address.String(), Round: round}) != nil {
			cancel()
		}
	}}
	var probing sync.WaitGroup
	defer probing.Wait()
	defer cancel()
	probing.Go(func() { prober.Run(ctx, questions) })
	// It ends with the stream, which ends with this call.
	heard := make(chan error, 1)
	go func() { heard <- hearQuestions(ctx, stream, questions) }()
	select {
	case err := <-heard:
		return err
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-s.ended:
		return stopping()
	}
}

// hearQuestions returns nil when the core has asked its last one.
func hearQuestions(ctx context.Context, stream grpc.BidiStreamingServer[interlockv1.ProbeRequest, interlockv1.ProbeResponse], questions chan<- admission.Question) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := question(request)
		if err != nil {
			return invalid(err)
		}
		select {
		case questions <- q:
		case <-ctx.Done():
			return nil
		}
	}
}

func question(request *interlockv1.ProbeRequest) (admission.Question, error) {
	q := admission.Question{Round: request.GetRound(), Addresses: make([]netip.AddrPort, len(request.GetAddresses()))}
	if len(q.Addresses) > admission.MaxAddresses {
		return q, fmt.Errorf("%d addresses are more than %d", len(q.Addresses), admission.MaxAddresses)
	}
	for i, text := range request.GetAddresses() {
		address, err := netip.ParseAddrPort(text)
		if err != nil {
			return q, fmt.Errorf("an address: %w", err)
		}
		q.Addresses[i] = address
	}
	return q, nil
}
