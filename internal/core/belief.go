package core

import (
	"context"
	"time"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// belief doubts a reading in which everything has gone: managers that restart
// have been seen to answer with empty lists. Such a reading counts once it has
// lasted and another one, made for that, says the same; one that cannot be true
// never does.
type belief struct {
	patience  time.Duration
	container string // the ID of this process's own, or the beginning of it; empty outside
	confirm   func(context.Context) (*snapshot.Snapshot, error)
	held      *snapshot.Snapshot // the last reading that was believed
	doubted   time.Time          // when the present doubt began; zero without one
	refused   bool               // whether the present doubt has outlasted another reading
}

// consider returns the reading to act on, nil if there is none, and after how
// long to ask again; 0 for not before the next trigger.
func (b *belief) consider(ctx context.Context, latest *snapshot.Snapshot, now time.Time) (*snapshot.Snapshot, time.Duration) {
	if latest == nil {
		return nil, 0
	}
	if !vanished(b.held, latest) {
		return b.believe(latest), 0
	}
	if b.doubted.IsZero() {
		b.doubted = now
	}
	if left := b.patience - now.Sub(b.doubted); left > 0 {
		return b.held, left
	}
	if again, err := b.confirm(ctx); err == nil && vanished(b.held, again) && !b.impossible(again) {
		return b.believe(latest), 0
	}
	// What contradicts the doubtful reading is published by the source too.
	b.doubted, b.refused = now, true
	return b.held, b.patience
}

// problems says that what the managers answer is not acted on; none if it is, or
// may be in a moment.
func (b *belief) problems() []problem.Problem {
	if !b.refused {
		return nil
	}
	return []problem.Problem{{Kind: problem.Doubted, Message: "Swarm answers that there are no services, tasks or nodes any more, and nothing confirms it, so routes stay as they were: " +
		"compare docker node ls and docker service ls on the core's node with those of another manager, and restart the engine whose lists are empty"}}
}

// impossible reports whether a reading lacks what every Swarm has: a node, and
// the task of this process, if there was one.
func (b *belief) impossible(snap *snapshot.Snapshot) bool {
	return len(snap.Nodes) == 0 || b.held != nil && b.isIn(b.held) && !b.isIn(snap)
}

// isIn reports whether a reading has the task of this process.
func (b *belief) isIn(snap *snapshot.Snapshot) bool {
	return new(ownTask).find(snap, b.container) != nil
}

func (b *belief) believe(snap *snapshot.Snapshot) *snapshot.Snapshot {
	b.held, b.doubted, b.refused = snap, time.Time{}, false
	return snap
}

// vanished reports whether a list that held something is empty now. Without a
// reading before, a Swarm without a node or service is as unlikely.
func vanished(before, after *snapshot.Snapshot) bool {
	if before == nil {
		return len(after.Nodes) == 0 || len(after.Services) == 0
	}
	gone := func(before, after int) bool { return before > 0 && after == 0 }
	return gone(len(before.Services), len(after.Services)) ||
		gone(len(before.Tasks), len(after.Tasks)) ||
		gone(len(before.Nodes), len(after.Nodes))
}
