package agent

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

// Status is what the proxy serves and what it would not.
type Status struct {
	// BundleVersion and TableVersion are empty while the proxy serves nothing.
	BundleVersion, TableVersion string
	// RefusedVersion and Refusal are of the last bundle if it was refused.
	RefusedVersion, Refusal string
}

// board holds the status for whoever wants to see it.
type board struct {
	mu      sync.Mutex
	status  Status
	served  *served       // the last that was; status says whether it is
	since   time.Time     // when the present bundle began to be served
	changed chan struct{} // closed when status is out of date
}

func newBoard() *board { return &board{changed: make(chan struct{})} }

// Status returns the present status, and a channel that is closed as soon as
// it is out of date.
func (a *Agent) Status() (Status, <-chan struct{}) {
	a.board.mu.Lock()
	defer a.board.mu.Unlock()
	return a.board.status, a.board.changed
}

// Served returns the bundle of that version if it is the one that the proxy serves.
func (a *Agent) Served(version string) (b render.Bundle, ok bool) {
	a.board.mu.Lock()
	defer a.board.mu.Unlock()
	if s := a.board.served; s != nil && s.version == version && a.board.status.BundleVersion == version {
		return s.bundle, true
	}
	return render.Bundle{}, false
}

func (b *board) serve(s *served) {
	b.mu.Lock()
	b.served = s
	b.mu.Unlock()
	b.set(Status{BundleVersion: s.version, TableVersion: s.tableVersion})
}

func (b *board) serveNothing() {
	next := b.current()
	next.BundleVersion, next.TableVersion = "", ""
	b.set(next)
}

func (b *board) refuse(version, reason string) {
	next := b.current()
	next.RefusedVersion, next.Refusal = version, reason
	b.set(next)
}

func (b *board) current() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// set is called by Run only, so that nothing comes between reading and setting.
func (b *board) set(next Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next == b.status {
		return
	}
	if next.BundleVersion != b.status.BundleVersion {
		b.since = time.Now()
	}
	b.status = next
	close(b.changed)
	b.changed = make(chan struct{})
}

// health is the answer of /healthz. Anybody may ask, so it does not say why a
// bundle was refused: the proxy's words may quote the operator's own lines.
type health struct {
	Serving       bool       `json:"serving"`
	BundleVersion string     `json:"bundleVersion,omitempty"`
	TableVersion  string     `json:"tableVersion,omitempty"`
	Since         *time.Time `json:"since,omitempty"`

	RefusedVersion string `json:"refusedVersion,omitempty"`
}

// HealthHandler answers GET /healthz with what the proxy serves, as JSON: 200
// while it serves a bundle, else 503.
func (a *Agent) HealthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer := a.board.health()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !answer.Serving {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		// Whoever asked has gone if this fails; there is nobody to tell.
		_ = json.NewEncoder(w).Encode(answer)
	})
	return mux
}

func (b *board) health() health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := health{
		Serving: b.status.BundleVersion != "", BundleVersion: b.status.BundleVersion, TableVersion: b.status.TableVersion,
		RefusedVersion: b.status.RefusedVersion,
	}
	if h.Serving {
		since := b.since.UTC()
		h.Since = &since
	}
	return h
}
