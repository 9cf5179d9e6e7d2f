package extension_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errGone = errors.New("connection refused")

// fakeCore publishes what the test sends it and records what comes back.
type fakeCore struct {
	publish  chan render.Publication // closed or cut: see stream
	answers  chan string
	streams  atomic.Int32
	put      func(version string) error // nil: everything is taken
	renewals atomic.Int32
}

func newFakeCore() *fakeCore {
	return &fakeCore{publish: make(chan render.Publication), answers: make(chan string, 100)}
}

// Watch ends the stream when a publication without a table comes.
func (c *fakeCore) Watch(ctx context.Context, next func(render.Publication)) error {
	c.streams.Add(1)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p := <-c.publish:
			if p.Table == nil {
				return errGone
			}
			next(p)
		}
	}
}

func (c *fakeCore) PutBundle(_ context.Context, generation uint64, version string, r render.Result) error {
	return c.answer(version, fmt.Sprintf("%d %s: %s", generation, version, r.Bundle.Token))
}

func (c *fakeCore) PutFailure(_ context.Context, generation uint64, version, reason string) error {
	return c.answer("failure", fmt.Sprintf("%d %s failed: %s", generation, version, reason))
}

func (c *fakeCore) answer(version, text string) error {
	if c.put != nil {
		if err := c.put(version); err != nil {
			return err
		}
	}
	c.answers <- text
	return nil
}

func (c *fakeCore) RenewIdentity(context.Context, []byte) ([]byte, error) {
	if c.renewals.Add(1) == 1 {
		return nil, errGone
	}
	return []byte("certificate"), nil
}

type fakeRenderer struct {
	calls  atomic.Int32
	render func(*route.Table) (render.Bundle, error)
}

func (r *fakeRenderer) Render(t *route.Table, _ render.Parameters, _ render.Credentials) (render.Bundle, error) {
	r.calls.Add(1)
	return r.render(t)
}

type fakeIdentity struct {
	renewAt  time.Time
	renewed  time.Time
	lifetime time.Duration
}

func (i *fakeIdentity) RenewAt() time.Time              { return i.renewAt }
func (i *fakeIdentity) RequestRenewal() ([]byte, error) { return []byte("request"), nil }
func (i *fakeIdentity) CompleteRenewal([]byte) error {
	i.renewed, i.renewAt = time.Now(), time.Now().Add(i.lifetime)
	return nil
}

func publication(generation uint64, version string) render.Publication {
	return render.Publication{Generation: generation, Version: version, Table: &route.Table{
		Hosts: []route.VirtualHost{{Name: version}},
	}}
}

// run runs an extension in a bubble of fake time.
func run(t *testing.T, renderer func(*route.Table) (render.Bundle, error), test func(*testing.T, *fakeCore, *fakeRenderer)) {
	synctest.Test(t, func(t *testing.T) {
		core, toy := newFakeCore(), &fakeRenderer{render: renderer}
		identity := &fakeIdentity{renewAt: time.Now().Add(365 * 24 * time.Hour)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		e := extension.New(extension.Options{Core: core, Renderer: toy, Materials: safe{}, Identity: identity, Logger: slog.New(slog.DiscardHandler)})
		go func() { ended <- e.Run(ctx) }()
		test(t, core, toy)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func token(t *route.Table) (render.Bundle, error) {
	return render.Bundle{Token: "bundle of " + t.Hosts[0].Name}, nil
}

func (c *fakeCore) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-c.answers:
		if got != want {
			t.Errorf("the core got %q, want %q", got, want)
		}
	case <-time.After(time.Hour):
		t.Errorf("the core got nothing within an hour, want %q", want)
	}
}

func TestEveryTableIsAnsweredWithItsBundle(t *testing.T) {
	run(t, token, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		core.publish <- publication(1, "v1")
		core.expect(t, "1 v1: bundle of v1")
		core.publish <- publication(2, "v2")
		core.expect(t, "2 v2: bundle of v2")
	})
}

func TestOnlyTheNewestTableIsRendered(t *testing.T) {
	var busy chan bool
	slow := func(t *route.Table) (render.Bundle, error) {
		busy <- true
		return token(t)
	}
	run(t, slow, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		busy = make(chan bool)
		core.publish <- publication(1, "v1")
		synctest.Wait() // v1 is being rendered
		for generation := uint64(2); generation <= 9; generation++ {
			core.publish <- publication(generation, fmt.Sprintf("v%d", generation))
		}
		synctest.Wait()
		<-busy
		core.expect(t, "1 v1: bundle of v1")
		<-busy
		core.expect(t, "9 v9: bundle of v9")
	})
}

func TestACoreThatComesBackIsAnsweredAgainWithoutRenderingAgain(t *testing.T) {
	run(t, token, func(t *testing.T, core *fakeCore, renderer *fakeRenderer) {
		core.publish <- publication(5, "v1")
		core.expect(t, "5 v1: bundle of v1")
		core.publish <- render.Publication{}
		core.publish <- publication(1, "v1")
		core.expect(t, "1 v1: bundle of v1")
		if calls := renderer.calls.Load(); calls != 1 {
			t.Errorf("the same table was rendered %d times", calls)
		}
	})
}

func TestOtherParametersAreRenderedAnew(t *testing.T) {
	run(t, token, func(t *testing.T, core *fakeCore, renderer *fakeRenderer) {
		core.publish <- publication(1, "v1")
		core.expect(t, "1 v1: bundle of v1")
		changed := publication(2, "v1")
		changed.Parameters.Config = map[string]any{"User": "other"}
		core.publish <- changed
		core.expect(t, "2 v1: bundle of v1")
		if calls := renderer.calls.Load(); calls != 2 {
			t.Errorf("rendered %d times", calls)
		}
	})
}

func TestAnAbsentCoreIsAskedEveryTwoSecondsAtMost(t *testing.T) {
	run(t, token, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		for range 10 {
			core.publish <- render.Publication{}
		}
		before := time.Now()
		core.publish <- publication(1, "v1")
		if waited := time.Since(before); waited > 3*time.Second {
			t.Errorf("the core is asked again after %s", waited)
		}
		core.expect(t, "1 v1: bundle of v1")
	})
}

func TestATableThatCannotBeRenderedIsReported(t *testing.T) {
	broken := func(t *route.Table) (render.Bundle, error) {
		if t.Hosts[0].Name == "bad" {
			return render.Bundle{}, errors.New("host bad: no")
		}
		return token(t)
	}
	run(t, broken, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		core.publish <- publication(1, "bad")
		core.expect(t, "1 bad failed: host bad: no")
		core.publish <- publication(2, "v2")
		core.expect(t, "2 v2: bundle of v2")
	})
}

func TestARendererThatPanicsCostsOnlyItsTable(t *testing.T) {
	panicking := func(t *route.Table) (render.Bundle, error) {
		if t.Hosts[0].Name == "bad" {
			var none []string
			_ = none[len(t.Hosts)]
		}
		return token(t)
	}
	run(t, panicking, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		core.publish <- publication(1, "bad")
		if got := <-core.answers; !strings.HasPrefix(got, "1 bad failed: the renderer panicked: runtime error: index out of range") {
			t.Errorf("the core got %q", got)
		}
		core.publish <- publication(2, "v2")
		core.expect(t, "2 v2: bundle of v2")
	})
}

func TestAnAnswerThatGetsLostIsGivenAgain(t *testing.T) {
	var tries atomic.Int32
	run(t, token, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		core.put = func(string) error {
			if tries.Add(1) < 4 {
				return errGone
			}
			return nil
		}
		core.publish <- publication(1, "v1")
		core.expect(t, "1 v1: bundle of v1")
	})
}

func TestAnAnswerThatIsOutOfDateIsNotGivenAgain(t *testing.T) {
	run(t, token, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		core.put = func(version string) error {
			if version == "v1" {
				return errGone
			}
			return nil
		}
		core.publish <- publication(1, "v1")
		synctest.Wait()
		core.publish <- publication(2, "v2")
		core.expect(t, "2 v2: bundle of v2")
		time.Sleep(time.Minute)
		if len(core.answers) != 0 {
			t.Errorf("the core got %q after that", <-core.answers)
		}
	})
}

func TestABundleThatTheCoreRejectsIsReportedInsteadOfGivenAgain(t *testing.T) {
	var tries atomic.Int32
	run(t, token, func(t *testing.T, core *fakeCore, _ *fakeRenderer) {
		core.put = func(version string) error {
			if version == "v1" {
				tries.Add(1)
				return fmt.Errorf("%w: too big", extension.ErrRejected)
			}
			return nil
		}
		core.publish <- publication(1, "v1")
		core.expect(t, "1 v1 failed: the core rejects it: too big")
		time.Sleep(time.Minute)
		if tries.Load() != 1 {
			t.Errorf("it was offered %d times", tries.Load())
		}
	})
}

func TestTheIdentityIsRenewedWhenItIsDueHoweverOftenThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, begin := newFakeCore(), time.Now()
		identity := &fakeIdentity{renewAt: begin.Add(60 * 24 * time.Hour), lifetime: 90 * 24 * time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), 100*24*time.Hour)
		defer cancel()
		e := extension.New(extension.Options{
			Core: core, Renderer: &fakeRenderer{render: token}, Materials: safe{}, Identity: identity, Logger: slog.New(slog.DiscardHandler),
		})
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
		if after := identity.renewed.Sub(begin); after < 60*24*time.Hour || after > 60*24*time.Hour+2*time.Minute {
			t.Errorf("renewed after %s, though it was due after 60 days", after)
		}
		if core.renewals.Load() != 2 {
			t.Errorf("the core was asked %d times, want one failure and one success", core.renewals.Load())
		}
	})
}
