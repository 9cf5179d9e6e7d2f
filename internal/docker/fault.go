package docker

import (
	"log/slog"
	"sync"
)

// faultLog logs every fault once for as long as readings go on to have it.
type faultLog struct {
	mu    sync.Mutex
	known map[fault]bool
}

func (l *faultLog) report(log *slog.Logger, faults []fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replace(log, make(map[fault]bool, len(faults)), faults)
}

// reportOf is report for a reading of one kind only: those of others go on.
func (l *faultLog) reportOf(log *slog.Logger, kind string, faults []fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := make(map[fault]bool, len(l.known))
	for f := range l.known {
		if f.kind != kind {
			now[f] = true
		}
	}
	l.replace(log, now, faults)
}

func (l *faultLog) replace(log *slog.Logger, now map[fault]bool, faults []fault) {
	for _, f := range faults {
		if !l.known[f] && !now[f] {
			log.Warn("part of the swarm cannot be read", "kind", f.kind, "id", f.id, "why", f.why, "so", f.consequence())
		}
		now[f] = true
	}
	l.known = now
}
