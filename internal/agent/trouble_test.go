package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

func TestTroubleThatMayPassIsNoRefusal(t *testing.T) {
	trouble := true
	fail := func(when string, err error) func(string) error {
		return func(token string) error {
			if trouble && (when == "" || when == token) {
				return err
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		proxy *proxy
		asked []string
	}{
		"nobody could be asked": {&proxy{check: fail("", errors.New("fork: no memory"))}, []string{"start one", "reload two", "quit"}},
		"it was not asked":      {&proxy{reload: fail("two", agent.ErrNotAsked)}, []string{"start one", "reload two", "reload two", "quit"}},
		"it may have changed":   {&proxy{reload: fail("two", errors.New("no answer"))}, []string{"start one", "reload two", "reload one", "reload two", "quit"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.proxy).start()
			trouble = false
			b.served(b.bundle("one", "etc/main"))
			trouble = true
			two := b.bundle("two", "etc/main")
			b.failed(two)
			b.holds("etc/main", "one")
			if status, _ := b.Status(); status.TableVersion != "table-one" || status.RefusedVersion != "" {
				t.Errorf("status %+v", status)
			}
			trouble = false
			b.served(two)
			b.stop()
			b.proxy.events = slices.DeleteFunc(b.proxy.events, func(event string) bool { return event == "check" })
			b.asked(test.asked...)
		})
	}
}

func TestAFolderForChecksThatCannotBeUsedIsNoRefusal(t *testing.T) {
	b := newBench(t, &proxy{})
	b.options.StagingDir = b.path("nowhere")
	b.start()
	one := b.bundle("one", "etc/main")
	b.failed(one)
	if err := os.Mkdir(b.path("nowhere"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.served(one)
	b.stop()
	if left, err := os.ReadDir(b.path("nowhere")); err != nil || len(left) != 0 {
		t.Errorf("a check left behind: %v, %v", left, err)
	}
}

func TestAProxyThatCannotBeToldToReturnIsNotEnded(t *testing.T) {
	b := newBench(t, &proxy{reload: func(token string) error {
		if token == "one" {
			return fmt.Errorf("too many open files: %w", agent.ErrNotAsked)
		}
		return errors.New("no answer")
	}}).start()
	b.served(b.bundle("one", "etc/main"))
	b.failed(b.bundle("two", "etc/main"))
	b.stop()
	b.asked("check", "start one", "check", "reload two", "reload one", "quit")
}

func TestAProxyIsNotTouchedWhereFilesCannotBePlaced(t *testing.T) {
	b := newBench(t, &proxy{}).start()
	b.served(b.bundle("one", "etc/main"))
	// A folder that is not empty cannot be replaced by a file.
	if err := os.MkdirAll(b.path("run/main/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.failed(b.bundle("two", "etc/main", "run/main"))
	b.holds("etc/main", "one")
	b.stop()
	b.asked("check", "start one", "check", "quit")
}

func TestTwoAgentsOnOneStateFolderDoNotGetInEachOthersWay(t *testing.T) {
	state := t.TempDir()
	var agents []*bench
	for range 2 {
		b := newBench(t, &proxy{})
		b.proxy.check = func(root string) error {
			_, err := os.Stat(filepath.Join(root, b.path("etc/sub/other")))
			return err
		}
		b.options.StateDir = state
		agents = append(agents, b.start())
	}
	var applying sync.WaitGroup
	for _, b := range agents {
		applying.Go(func() {
			for i := range 20 {
				if err := b.apply(b.bundle(strconv.Itoa(i), "etc/main", "etc/sub/other")); err != nil {
					t.Errorf("a good bundle is not taken: %v", err)
				}
			}
		})
	}
	applying.Wait()
	for _, b := range agents {
		b.stop()
	}
	left, err := os.ReadDir(state)
	if err != nil || len(left) != 1 {
		t.Errorf("the state folder holds %v, %v", left, err)
	}
	started := make(chan string, 1)
	for _, b := range agents { // the paths of one of the two are not the other's
		b.proxy.start = func(token string) error {
			started <- token
			return nil
		}
		b.start()
	}
	if token := <-started; token != "19" {
		t.Errorf("an agent starts with %q, want the last bundle", token)
	}
	for _, b := range agents {
		b.stop()
	}
}

// hang locks a state folder as an agent does that writes to it, and never ends.
func hang(t *testing.T, dir string) (release func()) {
	t.Helper()
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { folder.Close() }
}

// begins fails unless an agent with the same state folder would begin with a bundle.
func (b *bench) begins(token string) {
	b.t.Helper()
	another := newBench(b.t, &proxy{})
	another.options.StateDir, another.options.Folders = b.options.StateDir, b.options.Folders
	another.start()
	synctest.Wait()
	another.stop()
	another.asked("start "+token, "quit")
}

func TestABundleThatCouldNotBeSavedIsSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{}).start()
		b.served(b.bundle("one", "etc/main"))
		release := hang(t, b.options.StateDir)
		b.served(b.bundle("two", "etc/main"))
		time.Sleep(10 * time.Minute)
		b.begins("one")
		release()
		time.Sleep(3 * time.Minute)
		b.begins("two")
		b.stop()
	})
}

func TestABundleThatCouldNotBeSavedIsSavedWhenTheAgentEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, &proxy{}).start()
		b.served(b.bundle("one", "etc/main"))
		release := hang(t, b.options.StateDir)
		b.served(b.bundle("two", "etc/main"))
		release()
		b.stop()
		b.begins("two")
	})
}

func TestABundleWithoutTheMainFileIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	b := newBench(t, &proxy{})
	b.options.Main = b.path("etc/main")
	b.start()
	b.refused(b.bundle("one", "etc/other"))
	b.served(b.bundle("two", "etc/main", "etc/other"))
	b.stop()
	b.asked("check", "start two", "quit")
}
