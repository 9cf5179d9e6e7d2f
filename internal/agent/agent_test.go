package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/render"
)

func TestBundlesAreCheckedPlacedAndConfirmed(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBench(t, &proxy{})
	b.proxy.check = func(root string) error {
		staged, err := os.ReadFile(filepath.Join(root, b.path("etc/main")))
		if err != nil || len(staged) == 0 {
			t.Errorf("not staged: %v", err)
		}
		return nil
	}
	b.start()
	for _, bundle := range []render.Bundle{b.bundle("one", "etc/main", "etc/sub/old"), b.bundle("two", "etc/main", "run/new")} {
		b.served(bundle)
	}
	b.holds("etc/main", "two")
	b.holds("run/new", "two")
	b.holds("etc/sub/old", "")
	if info, err := os.Stat(b.path("etc/main")); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode of the file: %v, %v", info.Mode(), err)
	}
	b.stop()
	b.asked("check", "start one", "check", "reload two", "quit")
}

func TestTheBundleThatIsServedIsNotAppliedAgain(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	one := b.bundle("one", "etc/main")
	for _, table := range []string{"first", "second"} {
		if err := b.Apply(t.Context(), one, table); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := b.Status(); status.TableVersion != "second" {
		t.Errorf("status %+v, want the later table", status)
	}
	b.stop()
	b.asked("check", "start one", "quit")
}

func TestABundleThatMayNotBePlacedIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	defer b.stop()
	file := func(path string) render.File { return render.File{Path: path, Mode: 0o600} }
	large := file(b.path("etc/main"))
	large.Content = render.NewContent(make([]byte, 1001))
	setuid := file(b.path("etc/main"))
	setuid.Mode |= os.ModeSetuid
	for name, files := range map[string][]render.File{
		"outside":        {file("/somewhere/else")},
		"a neighbour":    {file(b.path("etcetera"))},
		"traversal":      {file(b.path("etc") + "/../x")},
		"relative":       {file("etc/main")},
		"the folder":     {file(b.path("etc"))},
		"a line break":   {file(b.path("etc/a\nb"))},
		"too large":      {large},
		"special mode":   {setuid},
		"twice":          {file(b.path("etc/main")), file(b.path("etc/main"))},
		"file as folder": {file(b.path("etc/main")), file(b.path("etc/main/sub"))},
	} {
		var refused *agent.Refused
		if err := b.apply(render.Bundle{Files: files}); !errors.As(err, &refused) {
			t.Errorf("%s: want a refusal, got: %v", name, err)
		}
	}
	b.asked()
}

func TestNoSymbolicLinkLeadsOutOfTheFolders(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	defer b.stop()
	if err := errors.Join(os.Mkdir(b.path("etc"), 0o755), os.Mkdir(b.path("outside"), 0o755), os.Symlink(b.path("outside"), b.path("etc/link"))); err != nil {
		t.Fatal(err)
	}
	b.failed(b.bundle("one", "etc/link/main"))
	b.holds("outside/main", "")
}

func TestARefusalKeepsTheBundleBefore(t *testing.T) {
	b := newBench(t, &proxy{reload: func(token string) error {
		if token == "two" {
			return &agent.Refused{Reason: "I do not like it"}
		}
		return nil
	}}).start()
	b.served(b.bundle("one", "etc/main"))
	two := b.bundle("two", "etc/main", "etc/second")
	if got := b.refused(two); got != "I do not like it" {
		t.Errorf("refused with %q", got)
	}
	b.holds("etc/main", "one")
	b.holds("etc/second", "")
	if status, _ := b.Status(); status.TableVersion != "table-one" || status.RefusedVersion != two.Version() || status.Refusal != "I do not like it" {
		t.Errorf("status %+v", status)
	}
	b.served(b.bundle("three", "etc/main"))
	if status, _ := b.Status(); status.RefusedVersion != "" || status.Refusal != "" {
		t.Errorf("a refusal outlives the next good bundle: %+v", status)
	}
	b.stop()
	b.asked("check", "start one", "check", "reload two", "check", "reload three", "quit")
}

func TestAProxyThatMayServeAnythingIsMadeToReturn(t *testing.T) {
	b := newBench(t, &proxy{reload: func(token string) error {
		if token == "two" {
			return errors.New("no answer")
		}
		return nil
	}}).start()
	b.served(b.bundle("one", "etc/main"))
	b.failed(b.bundle("two", "etc/main"))
	b.holds("etc/main", "one")
	b.stop()
	b.asked("check", "start one", "check", "reload two", "reload one", "quit")
}

func TestAProxyThatDoesNotReturnIsStartedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{reload: func(string) error { return errors.New("no answer") }}).start()
		b.served(b.bundle("one", "etc/main"))
		b.failed(b.bundle("two", "etc/main"))
		time.Sleep(time.Minute)
		b.holds("etc/main", "one")
		if status, _ := b.Status(); status.TableVersion != "table-one" {
			t.Errorf("status %+v", status)
		}
		b.stop()
		b.asked("check", "start one", "check", "reload two", "reload one", "kill", "start one", "quit")
	})
}

func TestAProxyThatRanForLongIsStartedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{}).start()
		b.served(b.bundle("one", "etc/main"))
		time.Sleep(time.Hour)
		close(b.proxy.last.done)
		time.Sleep(time.Nanosecond)
		if status, _ := b.Status(); status.TableVersion != "table-one" {
			t.Errorf("status %+v", status)
		}
		b.stop()
		b.asked("check", "start one", "start one", "quit")
	})
}

func TestAProxyThatDoesNotStartIsTriedAgainWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{}).start()
		b.served(b.bundle("one", "etc/main"))
		b.stop()

		began, starts := time.Now(), []time.Duration{}
		b.proxy.start = func(string) error {
			starts = append(starts, time.Since(began))
			return errors.New("port taken")
		}
		b.start()
		time.Sleep(10 * time.Minute)
		b.stop()
		if len(starts) < 30 || len(starts) > 120 {
			t.Errorf("%d starts in ten minutes", len(starts))
		}
		for i := 1; i < len(starts); i++ {
			if pause := starts[i] - starts[i-1]; pause < 50*time.Millisecond || pause > 25*time.Second {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
	})
}

func TestANewBundleDoesNotWaitForTheNextTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{}).start()
		b.served(b.bundle("one", "etc/main"))
		b.stop()
		b.proxy.start = func(token string) error {
			if token == "one" {
				return errors.New("not this one")
			}
			return nil
		}
		b.start()
		synctest.Wait()
		b.served(b.bundle("two", "etc/main"))
		started := len(b.proxy.events)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(b.proxy.events) != started {
			t.Errorf("something happened while all was well: %q", b.proxy.events[started:])
		}
		b.stop()
	})
}

func TestAnEndThatTakesTooLongEndsInAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{}).start()
		b.served(b.bundle("one", "etc/main"))
		b.proxy.last.quits = false
		began := time.Now()
		if err := b.end(); err == nil {
			t.Error("nothing was said of the kill")
		}
		if got := time.Since(began); got != time.Hour {
			t.Errorf("killed after %s", got)
		}
		b.asked("check", "start one", "quit", "kill")
	})
}

func TestApplyEndsWithItsContextAndWithTheAgent(t *testing.T) {
	hold := make(chan struct{})
	b := newBench(t, &proxy{check: func(string) error { <-hold; return nil }}).start()
	first := make(chan error)
	go func() { first <- b.apply(b.bundle("one", "etc/main")) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Apply(ctx, b.bundle("two", "etc/main"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got: %v", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	b.stop()
	if err := b.apply(b.bundle("three", "etc/main")); !errors.Is(err, agent.ErrEnded) {
		t.Errorf("got: %v", err)
	}
}

func TestTheStatusSaysWhenItIsOutOfDate(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	defer b.stop()
	status, outdated := b.Status()
	if status != (agent.Status{}) {
		t.Errorf("status before any bundle: %+v", status)
	}
	b.served(b.bundle("one", "etc/main"))
	select {
	case <-outdated:
	default:
		t.Error("the status is not out of date after a bundle")
	}
}

func TestHealthSaysWhatIsServedAndWhatWasRefused(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	defer b.stop()
	ask := func() (int, map[string]any) {
		recorder := httptest.NewRecorder()
		b.HealthHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		var answer map[string]any
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return recorder.Code, answer
	}
	if code, answer := ask(); code != http.StatusServiceUnavailable || answer["serving"] != false {
		t.Errorf("before any bundle: %d %v", code, answer)
	}
	one, two := b.bundle("one", "etc/main"), b.bundle("two", "elsewhere")
	b.served(one)
	b.refused(two)
	code, answer := ask()
	if code != http.StatusOK || answer["bundleVersion"] != one.Version() || answer["tableVersion"] != "table-one" ||
		answer["refusedVersion"] != two.Version() || answer["refusal"] != nil || answer["since"] == nil {
		t.Errorf("while serving: %d %v", code, answer)
	}
}
