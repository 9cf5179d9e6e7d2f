package delivery

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
)

// The connections are tested over the real wire, in package rpc.

// told is a session whose proxy has said what it serves, an hour ago.
func told(t *testing.T, b *Bundle, belief belief) *session {
	t.Helper()
	d := New(Options{Logger: slog.New(slog.DiscardHandler)})
	place := Proxy{Task: "t"}
	d.Deliver("c", []Proxy{place}, b)
	return &session{courier: newCourier(t.Context(), d, target{"c", place}), belief: belief, since: time.Now().Add(-time.Hour)}
}

func TestWhatAProxyIsSent(t *testing.T) {
	b := &Bundle{Bundle: render.Bundle{Files: []render.File{{Path: "/a", Content: render.NewContent([]byte("a"))}}}, TableVersion: "table"}
	version := b.Version()
	for name, test := range map[string]struct {
		wanted *Bundle
		belief belief
		want   bool
	}{
		"nothing as long as there is no bundle":               {nil, belief{}, false},
		"the first bundle":                                    {b, belief{}, true},
		"a bundle that differs from the one it serves":        {b, belief{serves: content{"other", "table"}}, true},
		"the bundle it serves, if it is for another table":    {b, belief{serves: content{version, "other"}}, true},
		"not what it serves":                                  {b, belief{serves: content{version, "table"}}, false},
		"what it refused before another one":                  {b, belief{serves: content{"other", "table"}, refuses: "third"}, true},
		"what it refused long ago, since nobody knows why":    {b, belief{serves: content{"other", "table"}, refuses: version}, true},
		"not what it serves, even if it refused it meanwhile": {b, belief{serves: content{version, "table"}, refuses: version}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, hold := told(t, test.wanted, test.belief).due()
			if got := w != nil && hold == 0; got != test.want {
				t.Errorf("it is sent something: %v, in %s", got, hold)
			}
		})
	}
}

// offers says after how long a bundle is sent, again and again, to a proxy that
// answers in the same way each time and then serves another bundle.
func offers(s *session, answer func(*wanted), count int) (pauses []time.Duration) {
	for range count {
		w, hold := s.due()
		time.Sleep(hold)
		s.offer.make(w.content(), time.Now())
		answer(w)
		s.believe(func(b *belief) { b.serves = content{"somebody else's", "table"} })
		pauses = append(pauses, hold)
	}
	return pauses
}

func TestNoAnswerHidesForGoodWhatAProxyDoesNotServe(t *testing.T) {
	b := &Bundle{Bundle: render.Bundle{Files: []render.File{{Path: "/a", Content: render.NewContent([]byte("a"))}}}, TableVersion: "table"}
	for name, test := range map[string]struct {
		response *interlockv1.ApplyBundleResponse
		err      error
		want     []time.Duration
	}{
		"taken":       {&interlockv1.ApplyBundleResponse{}, nil, seconds(0, 1, 2, 4, 8, 16, 32, 60, 60)},
		"refused":     {&interlockv1.ApplyBundleResponse{Refusal: "no"}, nil, seconds(0, 60, 60, 60)},
		"trouble":     {nil, status.Error(codes.Internal, "disk full"), seconds(0, 5, 10, 20, 40, 60, 60)},
		"too big":     {nil, status.Error(codes.ResourceExhausted, "too big"), seconds(0, 60, 60)},
		"outranked":   {nil, status.Error(codes.FailedPrecondition, "newer"), seconds(0, 5, 5, 5, 5)},
		"out of time": {nil, status.Error(codes.DeadlineExceeded, "late"), seconds(0, 5, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := told(t, b, belief{})
				defer s.courier.hangUp()
				got := offers(s, func(w *wanted) { s.conclude(w, test.response, test.err, 0) }, len(test.want))
				if !slices.Equal(got, test.want) {
					t.Errorf("sent after %v, want %v", got, test.want)
				}
			})
		})
	}
}

func seconds(list ...int) []time.Duration {
	var all []time.Duration
	for _, n := range list {
		all = append(all, time.Duration(n)*time.Second)
	}
	return all
}

func TestAnotherBundleIsNotHeldBackByTheOneBefore(t *testing.T) {
	bundle := func(data string) *Bundle {
		return &Bundle{Bundle: render.Bundle{Files: []render.File{{Path: "/a", Content: render.NewContent([]byte(data))}}}, TableVersion: data}
	}
	s := told(t, bundle("one"), belief{})
	s.offer.make(s.courier.deliverer.wanted("c").content(), time.Now())
	s.offer.hold(longestHold)
	if _, hold := s.due(); hold == 0 {
		t.Error("the same one is not held back")
	}
	s.courier.deliverer.Deliver("c", nil, bundle("two"))
	if w, hold := s.due(); w == nil || hold != 0 {
		t.Errorf("it is held back for %s", hold)
	}
}

func TestWhatAProxyRefusedBeforeTheConnectionIsHeldBackAtFirst(t *testing.T) {
	b := &Bundle{Bundle: render.Bundle{Files: []render.File{{Path: "/a", Content: render.NewContent([]byte("a"))}}}, TableVersion: "table"}
	synctest.Test(t, func(t *testing.T) {
		s := told(t, b, belief{refuses: b.Version()})
		defer s.courier.hangUp()
		s.since = time.Now()
		if w, hold := s.due(); w == nil || hold != longestHold {
			t.Errorf("held back for %s", hold)
		}
	})
}

func TestAnOfferOfLongAgoMakesTheNextOneNoSlower(t *testing.T) {
	var o offer
	what, begin := content{"bundle", "table"}, time.Now()
	for i, after := range []time.Duration{0, time.Second, offerForgotten + time.Second} {
		o.make(what, begin.Add(after))
		if want := []int{1, 2, 1}[i]; o.times != want {
			t.Errorf("offer %d counts as the %dth in a row, want %d", i, o.times, want)
		}
	}
}

func TestABundleIsPreparedOnceHoweverOftenItIsWrapped(t *testing.T) {
	d := New(Options{Logger: slog.New(slog.DiscardHandler)})
	files := []render.File{{Path: "/a", Content: render.NewContent([]byte("a"))}}
	wrap := func(table string) *Bundle { return &Bundle{Bundle: render.Bundle{Files: files}, TableVersion: table} }
	d.Deliver("c", nil, wrap("1"))
	first := d.wanted("c")
	d.Deliver("c", nil, wrap("1"))
	if d.wanted("c") != first {
		t.Error("the same bundle was prepared twice")
	}
	d.Deliver("c", nil, wrap("2"))
	if d.wanted("c") == first {
		t.Error("the bundle of another table was not prepared")
	}
}
