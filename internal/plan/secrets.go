package plan

import (
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Swarm replaces the tasks of a service to mount a secret or to take one away,
// so this is done seldom, and for many secrets at a time.
const (
	// mountQuiet is how long a secret must have been needed before it is mounted:
	// what is deployed together is mounted together.
	mountQuiet = time.Second
	// mountLimit is how long it waits at most for an update of the service to
	// end: Swarm watches each for five seconds, and one that is stuck longer.
	mountLimit = 15 * time.Second
	// unmountQuiet is how long nobody may have needed a secret before its removal
	// is worth an update: who returns to the secret before finds it in place.
	unmountQuiet = 10 * time.Minute
	// unmountAlong is how long that must be for it to go along with a change
	// that is made anyway.
	unmountAlong = time.Minute
)

// SecretMounts remembers, for one service, since when secrets have been needed
// that it does not have, and since when it has had secrets that nobody needs;
// both by their place in the container. The zero value remembers nothing.
type SecretMounts struct {
	missing, idle map[string]time.Time
}

// Add gives w, which current is to become, the secrets that its tasks should
// have now beside those of its specification, and says after how long they
// should have others; 0 for not before something changes. Current is nil for a
// service that is yet to be made. Needed are normal, and differ in their targets
// from one another and from the secrets in the specification.
func (m *SecretMounts) Add(current *snapshot.Service, w *Wanted, needed []snapshot.FileRef, now time.Time) (again time.Duration) {
	if current == nil {
		w.Spec.Secrets = slices.Concat(w.Spec.Secrets, needed)
		return 0
	}
	mounted := added(current, w)
	m.look(mounted, needed, now)
	wait := m.mountWait(current.Update, now)
	mount := len(m.missing) > 0 && wait == 0
	if mount || oldest(m.idle, now) >= unmountQuiet {
		mounted = slices.DeleteFunc(mounted, func(ref snapshot.FileRef) bool { return m.idleFor(ref, now) >= unmountAlong })
	}
	if mount {
		mounted = slices.Concat(needed, slices.DeleteFunc(mounted, func(ref snapshot.FileRef) bool { return !m.isIdle(ref) }))
	}
	w.Spec.Secrets = slices.Concat(w.Spec.Secrets, mounted)
	return earlier(wait, m.unmountWait(mounted, now))
}

// added are the secrets that Add gave the service last.
func added(current *snapshot.Service, w *Wanted) []snapshot.FileRef {
	fixed := index(w.Spec.Secrets, fileKey)
	return slices.DeleteFunc(lastApplied(current).Secrets, func(ref snapshot.FileRef) bool {
		_, other := fixed[ref.Target]
		return other
	})
}

func (m *SecretMounts) look(mounted, needed []snapshot.FileRef, now time.Time) {
	missing, idle := make(map[string]time.Time), make(map[string]time.Time)
	for _, ref := range needed {
		if !slices.Contains(mounted, ref) {
			missing[ref.Target] = since(m.missing, ref.Target, now)
		}
	}
	targets := index(needed, fileKey)
	for _, ref := range mounted {
		if _, still := targets[ref.Target]; !still {
			idle[ref.Target] = since(m.idle, ref.Target, now)
		}
	}
	m.missing, m.idle = missing, idle
}

func since(before map[string]time.Time, key string, now time.Time) time.Time {
	if at, known := before[key]; known {
		return at
	}
	return now
}

// mountWait is how long what is missing has to wait; 0 also if nothing is.
func (m *SecretMounts) mountWait(update snapshot.UpdateState, now time.Time) time.Duration {
	if len(m.missing) == 0 {
		return 0
	}
	wait := mountQuiet
	if update == snapshot.UpdateUpdating {
		wait = mountLimit
	}
	return max(0, wait-oldest(m.missing, now))
}

// isIdle says of a mounted secret whether nobody needs it.
func (m *SecretMounts) isIdle(ref snapshot.FileRef) bool {
	_, idle := m.idle[ref.Target]
	return idle
}

// idleFor is how long nobody has needed a secret; 0 for one that is needed.
func (m *SecretMounts) idleFor(ref snapshot.FileRef, now time.Time) time.Duration {
	if at, idle := m.idle[ref.Target]; idle {
		return now.Sub(at)
	}
	return 0
}

// unmountWait is after how long one of the secrets that stay is to go.
func (m *SecretMounts) unmountWait(stay []snapshot.FileRef, now time.Time) (wait time.Duration) {
	for _, ref := range stay {
		if m.isIdle(ref) {
			wait = earlier(wait, unmountQuiet-m.idleFor(ref, now))
		}
	}
	return wait
}

func oldest(times map[string]time.Time, now time.Time) (age time.Duration) {
	for _, at := range times {
		age = max(age, now.Sub(at))
	}
	return age
}

// earlier is the shorter of two waits, of which 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || (b > 0 && b < a) {
		return b
	}
	return a
}
