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

// report takes the faults of a reading, of one kind only or of all where that is empty:
// those of kinds that were not read go on.
func (l *faultLog) report(log *slog.Logger, kind string, faults []fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := make(map[fault]bool, len(faults))
	for f := range l.known {
		if kind != "" && f.kind != kind {
			now[f] = true
		}
	}
	for _, f := range faults {
		if !l.known[f] && !now[f] {
			log.Warn("part of the swarm cannot be read", "kind", f.kind, "id", f.id, "why", f.why, "so", f.consequence())
		}
		now[f] = true
	}
	l.known = now
}
