package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
	"github.com/interlock-lb/interlock/internal/route"
)

func newServer() *proxy.Server {
	return proxy.New(proxy.Options{Logger: slog.New(slog.DiscardHandler), Limits: proxy.DefaultLimits()})
}

func TestAStandaloneIsHealthyOnceItServesATableAndSaysWhyUntilThen(t *testing.T) {
	server := newServer()
	ready := newReadiness(server)
	admin := httptest.NewServer(ready)
	defer admin.Close()
	address := strings.TrimPrefix(admin.URL, "http://")
	for _, want := range []string{"Docker's API cannot be used yet", "Swarm has not been read yet"} {
		if err := askHealth(t.Context(), address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		ready.waits("Swarm has not been read yet")
	}
	if err := server.Swap(&route.Table{}, nil); err != nil {
		t.Fatal(err)
	}
	ready.waits("a table that came later could not be served")
	if err := askHealth(t.Context(), address); err != nil {
		t.Error(err)
	}
}

func TestAnAdminAddressThatDoesNotAnswerIsNotHealthy(t *testing.T) {
	admin := httptest.NewServer(http.NotFoundHandler())
	address := strings.TrimPrefix(admin.URL, "http://")
	if err := askHealth(t.Context(), address); err == nil {
		t.Error("somebody else's address is healthy")
	}
	admin.Close()
	if err := askHealth(t.Context(), address); err == nil {
		t.Error("nobody's address is healthy")
	}
}

// said keeps what is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) has(words string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), words)
}

func TestASignalPrintsTheTable(t *testing.T) {
	log := &said{}
	p := process{stderr: log}
	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		ended <- p.describeOnSignal(ctx, func(to io.Writer) error {
			select {
			case ready <- struct{}{}:
			default: // it was asked twice
			}
			_, err := io.WriteString(to, "the table\n")
			return err
		})
	}()
	// Until the signal is listened for it would end this process.
	signalled := make(chan os.Signal, 1)
	signal.Notify(signalled, syscall.SIGUSR1)
	defer signal.Stop(signalled)
	for deadline := time.Now().Add(patience); len(ready) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is printed")
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil || !log.has("the table\n") {
		t.Errorf("%v, printed: %v", err, log.has("the table"))
	}
}
