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
	// statusLimit is how long a proxy may take to say what it serves.
	statusLimit = 10 * time.Second
)

// outranked is the LastError of a proxy that obeys a core which started later.
const outranked = "a newer core is in charge"

var errSilent = errors.New("the agent does not say what its proxy serves")

// session is what happens over one connection: the proxy's statuses come in
// while bundles and renewals go out, one at a time.
type session struct {
	courier *courier
	client  interlockv1.AgentServiceClient
	since   time.Time // when the proxy first said what it serves; zero: not yet
	validity
	offer offer   // the last one; only push uses it
	pace  pace    // likewise
	taken *wanted // what the proxy took last, nil: nothing over this connection; likewise
	asked question

	mu     sync.Mutex // guards belief
	belief belief
}

// belief is what the proxy is taken to serve and to refuse: what it has said
// last, be it in its status or in an answer.
type belief struct {
	serves  content
	refuses string // the version of a bundle
	// offered is what the proxy was sent last; told says that its status has shown
	// since that it serves this. The answer, which may come later, is older then.
	offered content
	told    bool
	changes bool // the agent takes changes of bundles
}

// content is what a proxy can serve.
type content struct{ bundle, table string }

// is reports whether it is what is wanted, in the words of an agent that may have
// the former versions.
func (c content) is(w *wanted, former bool) bool {
	return c.table == w.source.TableVersion && w.is(c.bundle, former)
}

// run returns when the connection has failed or ctx has ended, never nil.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	impatience := time.AfterFunc(statusLimit, func() { cancel(errSilent) })
	defer impatience.Stop()
	group, ctx := errgroup.WithContext(ctx)
	stream, err := s.client.WatchStatus(ctx, &interlockv1.WatchStatusRequest{Epoch: s.courier.deliverer.options.Epoch})
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
	group.Go(func() error { return s.probe(ctx) })
	return group.Wait()
}

func (s *session) begin(stream grpc.ClientStream) {
	s.since = time.Now()
	s.validity = presented(stream.Context())
	s.courier.note(func(known *Status) { known.Connected, known.LastError = true, "" })
	s.courier.log.Info("proxy connected", "bundle", s.belief.serves.bundle, "table", s.belief.serves.table)
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
	s.believe(func(b *belief) {
		b.serves = content{message.GetBundleVersion(), message.GetTableVersion()}
		b.refuses = message.GetRefusedVersion()
		b.told = b.told || b.serves == b.offered
		b.changes = message.GetChanges()
	})
	s.courier.note(func(known *Status) {
		known.BundleVersion, known.TableVersion = message.GetBundleVersion(), message.GetTableVersion()
		known.RefusedVersion, known.Refusal = message.GetRefusedVersion(), wire.Reason(message.GetRefusal())
		known.former = !message.GetChanges()
	})
	return nil
}

func (s *session) believe(change func(*belief)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.belief)
}

// push sends what is due. While the proxy works on one bundle, any number of
// newer ones may pass by: only the last of them is sent afterwards.
func (s *session) push(ctx context.Context) error {
	renewal := time.NewTimer(s.untilRenewal())
	defer renewal.Stop()
	for {
		var due, ask <-chan time.Time // nil: nothing is
		w, hold := s.due()
		if w != nil {
			due = time.After(hold)
		} else {
			// Another core may have brought it.
			s.courier.note(func(known *Status) { known.LastError = "" })
		}
		if w == nil || hold > 0 { // what is to be served goes first
			ask = s.askIn()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.courier.news:
		case <-due:
			if err := s.send(ctx); err != nil {
				return err
			}
		case <-ask:
			if err := s.ask(ctx); err != nil {
				return err
			}
		case <-renewal.C:
			renewal.Reset(s.renewIfDue(ctx))
		}
	}
}

// due is what the proxy should be sent, and in how long; nil: it serves what is
// wanted. An offer that was made before is held back for a while.
func (s *session) due() (w *wanted, hold time.Duration) {
	w = s.courier.deliverer.wanted(s.courier.target.cluster)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w == nil || s.belief.serves.is(w, !s.belief.changes):
		return nil, 0
	case s.offer.what == w.content():
		return w, max(time.Until(s.offer.until), 0)
	case w.is(s.belief.refuses, !s.belief.changes):
		// Not over this connection, or for another table.
		return w, max(time.Until(s.since.Add(longestHold)), time.Until(s.offer.until), 0)
	default:
		return w, max(time.Until(s.pace.next(w.source, s.generation())), 0)
	}
}

// generation is that of what the proxy took last; 0: nothing over this connection.
func (s *session) generation() uint64 {
	if s.taken == nil {
		return 0
	}
	return s.taken.source.Generation
}

// send sends what is due by now and waits for the answer. It fails if the
// connection has.
func (s *session) send(ctx context.Context) error {
	w, hold := s.due()
	if w == nil || hold > 0 {
		return nil
	}
	s.offer.make(w.content(), time.Now())
	s.believe(func(b *belief) { b.offered, b.told = w.content(), false })
	limited, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	began := time.Now()
	response, err := s.apply(limited, w)
	if code := status.Code(err); ctx.Err() != nil || code == codes.Unavailable {
		return err
	}
	failure := s.conclude(w, response, err, time.Since(began))
	s.courier.note(func(known *Status) { known.LastError = failure })
	return nil
}

// apply sends a bundle: what it changes of the one that the proxy serves, where
// that is known, and else all of it.
func (s *session) apply(ctx context.Context, w *wanted) (*interlockv1.ApplyBundleResponse, error) {
	request := &interlockv1.ApplyBundleRequest{Generation: w.source.Generation, TableVersion: w.source.TableVersion, Epoch: s.courier.deliverer.options.Epoch}
	base, takesChanges := s.base()
	if request.Change = w.change(base); request.Change != nil {
		response, err := s.client.ApplyBundle(ctx, request)
		if !changeUnusable(response, err) {
			return response, err
		}
		request.Change = nil
	}
	request.Bundle = w.wholeFor(takesChanges)
	return s.client.ApplyBundle(ctx, request)
}

// changeUnusable reports whether the answer to a change asks for all of the bundle.
func changeUnusable(response interface{ GetBaseUnknown() bool }, err error) bool {
	return err == nil && response.GetBaseUnknown() || status.Code(err) == codes.InvalidArgument
}

// base is the bundle that the proxy serves; nil where that is not known, or the
// agent takes no changes.
func (s *session) base() (base *wanted, takesChanges bool) {
	s.mu.Lock()
	serves, takesChanges := s.belief.serves.bundle, s.belief.changes
	s.mu.Unlock()
	switch {
	case !takesChanges || serves == "":
		return nil, takesChanges
	case s.taken != nil && s.taken.version == serves:
		return s.taken, true
	default:
		return s.courier.deliverer.known(s.courier.target.cluster, serves), true
	}
}

// conclude takes the answer to an offer, and says what went wrong between here
// and the proxy.
func (s *session) conclude(w *wanted, response *interlockv1.ApplyBundleResponse, err error, took time.Duration) (failure string) {
	log := s.courier.log.With("bundle", w.version, "generation", w.source.Generation)
	switch code := status.Code(err); {
	case err == nil && response.GetRefusal() == "":
		s.believe(func(b *belief) {
			if !b.told {
				b.serves, b.refuses = w.content(), ""
			}
		})
		s.offer.holdGrowing(takenHold)
		s.pace.took(s.offer.made, time.Now())
		s.taken = w
		log.Info("proxy serves the bundle", "after", took)
		return ""
	case err == nil:
		s.believe(func(b *belief) { b.refuses = w.version })
		s.offer.hold(longestHold)
		log.Warn("proxy refuses the bundle", "refusal", wire.Reason(response.GetRefusal()))
		return ""
	case code == codes.FailedPrecondition:
		s.offer.hold(failedHold)
		if s.offer.times == 1 {
			log.Warn("proxy obeys another core, trying again", "error", words(err), "after", failedHold)
		}
		return outranked
	case code == codes.InvalidArgument || code == codes.ResourceExhausted:
		s.offer.hold(longestHold)
		log.Error("the bundle cannot be sent to the proxy", "error", words(err))
	default:
		log.Warn("the proxy did not apply the bundle, trying again", "error", words(err), "after", s.offer.holdGrowing(failedHold))
	}
	return words(err)
}
