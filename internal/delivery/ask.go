package delivery

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/wire"
)

// question is what a proxy was last asked about over one connection. Only push
// uses it.
type question struct {
	about *trial
	again time.Time // when it is asked once more; zero: it was answered
}

// askIn is when the proxy is to be asked about a bundle; nil: never.
func (s *session) askIn() <-chan time.Time {
	next := s.courier.deliverer.tried(s.courier.target)
	switch {
	case next == nil:
		return nil
	case next != s.asked.about:
		return time.After(0)
	case s.asked.again.IsZero():
		return nil
	default:
		return time.After(time.Until(s.asked.again))
	}
}

// ask asks the proxy and waits for the answer. It fails if the connection has.
func (s *session) ask(ctx context.Context) error {
	next := s.courier.deliverer.tried(s.courier.target)
	if next == nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	response, err := s.check(limited, next.wanted)
	if code := status.Code(err); ctx.Err() != nil || code == codes.Unavailable {
		return err
	}
	answer := Answer{Version: next.version}
	s.asked = question{about: next}
	if err != nil {
		answer.Failure = words(err)
		s.asked.again = time.Now().Add(failedHold)
	} else {
		answer.Refusal = wire.Reason(response.GetRefusal())
	}
	s.courier.note(func(known *Status) { known.Tried = answer })
	return nil
}

// check asks about a bundle as apply sends one.
func (s *session) check(ctx context.Context, w *wanted) (*interlockv1.CheckBundleResponse, error) {
	request := &interlockv1.CheckBundleRequest{Epoch: s.courier.deliverer.options.Epoch}
	base, takesChanges := s.base()
	if request.Change = w.change(base); request.Change != nil {
		response, err := s.client.CheckBundle(ctx, request)
		if !changeUnusable(response, err) {
			return response, err
		}
		request.Change = nil
	}
	request.Bundle = w.wholeFor(takesChanges)
	return s.client.CheckBundle(ctx, request)
}
