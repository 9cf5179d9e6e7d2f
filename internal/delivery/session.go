package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/wire"
)

const (
	// applyLimit is how long a proxy may take for one bundle: at 10,000 hosts
	// nginx needs 15 s to check it and load it.
	applyLimit = 90 * time.Second
	// applyRetry is the pause after a proxy could neither take nor refuse a bundle.
	applyRetry = 5 * time.Second
	// statusLimit is how long a proxy may take to say what it serves.
	statusLimit = 10 * time.Second
)

var errSilent = errors.New("the agent does not say what its proxy serves")

// session is what happens over one connection: the proxy's statuses come in
// while bundles and renewals go out, one at a time.
type session struct {
	courier *courier
	client  interlockv1.AgentServiceClient
	since   time.Time // when the proxy first said what it serves; zero: not yet
	validity
	// answered is what the proxy answered last, whether it took it or not; its
	// status says the same a little later. Only push uses it.
	answered answer
	retry    <-chan time.Time // when to forget answered, which was no answer; nil: never

	mu     sync.Mutex // guards status
	status *interlockv1.WatchStatusResponse
}

type answer struct{ bundle, table string }

// run returns when the connection has failed or ctx has ended, never nil.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	impatience := time.AfterFunc(statusLimit, func() { cancel(errSilent) })
	defer impatience.Stop()
	group, ctx := errgroup.WithContext(ctx)
	stream, err := s.client.WatchStatus(ctx, &interlockv1.WatchStatusRequest{})
	if err == nil {
		err = s.receive(stream)
	}
	if errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	if err != nil {
		return err
	}
	impatience.Stop()
	s.begin(stream)
	group.Go(func() error { return s.watch(stream) })
	group.Go(func() error { return s.push(ctx) })
	return group.Wait()
}

func (s *session) begin(stream grpc.ClientStream) {
	s.since = time.Now()
	s.validity = presented(stream.Context())
	s.courier.note(func(known *Status) { known.Connected, known.LastError = true, "" })
	s.courier.log.Info("proxy connected", "bundle", s.status.GetBundleVersion(), "table", s.status.GetTableVersion())
}

func (s *session) watch(stream grpc.ServerStreamingClient[interlockv1.WatchStatusResponse]) error {
	for {
		if err := s.receive(stream); err != nil {
			return err
		}
		signal(s.courier.news)
	}
}

func (s *session) receive(stream grpc.ServerStreamingClient[interlockv1.WatchStatusResponse]) error {
	message, err := stream.Recv()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.status = message
	s.mu.Unlock()
	s.courier.note(func(known *Status) {
		known.BundleVersion, known.TableVersion = message.GetBundleVersion(), message.GetTableVersion()
		known.RefusedVersion, known.Refusal = message.GetRefusedVersion(), wire.Reason(message.GetRefusal())
	})
	return nil
}

// push sends what is due. While the proxy works on one bundle, any number of
// newer ones may pass by: only the last of them is sent afterwards.
func (s *session) push(ctx context.Context) error {
	renewal := time.NewTimer(s.untilRenewal())
	defer renewal.Stop()
	for {
		if w := s.due(); w != nil {
			if err := s.apply(ctx, w); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.courier.news:
		case <-s.retry:
			s.answered = answer{}
		case <-renewal.C:
			renewal.Reset(s.renewIfDue(ctx))
		}
	}
}

// due is what the proxy should be sent now; nil: nothing. Once it has answered,
// it is not asked the same again over this connection, and a bundle that it says
// it refused is not sent to it at all: only a proxy that has started anew, and so
// does not say so any more, gets another try.
func (s *session) due() *wanted {
	w := s.courier.deliverer.wanted(s.courier.target.cluster)
	if w == nil || w.key() == s.answered {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	serves := answer{s.status.GetBundleVersion(), s.status.GetTableVersion()}
	if serves == w.key() || s.status.GetRefusedVersion() == w.version {
		return nil
	}
	return w
}

// apply sends a bundle and waits for the answer. It fails if the connection has.
func (s *session) apply(ctx context.Context, w *wanted) error {
	s.answered, s.retry = w.key(), nil
	log := s.courier.log.With("bundle", w.version, "generation", w.source.Generation)
	limited, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	began := time.Now()
	response, err := s.client.ApplyBundle(limited, w.request)
	switch code := status.Code(err); {
	case err == nil && response.GetRefusal() == "":
		log.Info("proxy serves the bundle", "after", time.Since(began))
	case err == nil:
		log.Warn("proxy refuses the bundle", "refusal", wire.Reason(response.GetRefusal()))
	case ctx.Err() != nil || code == codes.Unavailable:
		return err
	case code == codes.InvalidArgument || code == codes.ResourceExhausted:
		log.Error("the bundle cannot be sent to the proxy", "error", status.Convert(err).Message())
	default:
		log.Warn("the proxy did not answer for the bundle, trying again", "error", status.Convert(err).Message(), "after", applyRetry)
		s.retry = time.After(applyRetry)
	}
	s.courier.note(func(known *Status) { known.LastError = status.Convert(err).Message() })
	return nil
}

func (w *wanted) key() answer { return answer{w.version, w.source.TableVersion} }
