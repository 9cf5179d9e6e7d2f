package swarmkit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// pace is how often a stream is doubted.
type pace struct {
	// pulse is how often the managers are asked for something small. A follower
	// that has lost its leader goes on to stream nothing at all, without a word.
	pulse time.Duration
	// silence is how long they may fail to answer that: a new leader is elected
	// in less.
	silence time.Duration
	// check is how often the state is held against complete lists. Where these
	// take long it is checkRest times as long as they took, but checkMost at most.
	check time.Duration
	// lag is how far a manager's store may be behind its leader's.
	lag time.Duration
}

// steady finds a silent stream within 15 s.
var steady = pace{pulse: 3 * time.Second, silence: 7 * time.Second, check: 9 * time.Second, lag: 2 * time.Second}

const (
	checkRest = 10
	checkMost = time.Minute
)

// silent is a stream that is alive but not to be believed.
type silent struct {
	error
	since time.Duration // the managers answered last
}

// SilentFor is how long ago that was; 0 where they do answer.
func (s silent) SilentFor() time.Duration { return s.since }

// checker finds out whether a stream that says nothing is alive: the managers'
// silence ends its pulse, and its readings are for the state to be held against.
type checker struct {
	pace
	lister
	newest   *atomic.Uint64 // the state's
	readings chan reading
}

// reading is what was listed, and what the state's newest version was when that
// began.
type reading struct {
	*lists
	since uint64
}

// feel returns an error once the managers do not answer any more.
func (c *checker) feel(ctx context.Context) error {
	answered := time.Now()
	for sleep(ctx, c.pulse) {
		err := c.ask(ctx)
		if err == nil {
			answered = time.Now()
			continue
		}
		if since := time.Since(answered); since > c.silence {
			return silent{error: fmt.Errorf("the Swarm's managers have not answered for %s: %w", since.Round(time.Second), err), since: since}
		}
	}
	return ctx.Err()
}

func (c *checker) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := c.nodes(ctx)
	return hung(err)
}

// read makes readings until ctx is done. Why one fails the pulse finds out.
func (c *checker) read(ctx context.Context) error {
	pause := c.check
	for sleep(ctx, pause) {
		began, since := time.Now(), c.newest.Load()
		l, err := c.once(ctx)
		pause = max(c.check, min(checkMost, checkRest*time.Since(began)))
		if err != nil {
			continue
		}
		select {
		case c.readings <- reading{l, since}:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (c *checker) once(ctx context.Context) (*lists, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	return c.everything(ctx)
}

// sleep waits for d and tells whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// suspect is something that lists say and the state does not, yet.
type suspect struct {
	id      string
	version uint64 // that the state should reach; 0: the object should go
}

// suspects compares the state with lists that were read a moment ago.
func (s *state) suspects(r reading) []suspect {
	return slices.Concat(
		compare(s, r.services, ids(s.services), r.since), compare(s, r.tasks, slices.Collect(maps.Keys(s.at)), r.since),
		compare(s, r.nodes, ids(s.nodes), r.since), compare(s, r.networks, ids(s.networks), r.since),
		compare(s, r.secrets, ids(s.secrets), r.since), compare(s, r.configs, ids(s.configs), r.since),
	)
}

// compare looks at one kind, since each list is of a moment of its own; of several
// where it was read in parts.
func compare[O object](s *state, list []O, known []string, since uint64) []suspect {
	var found []suspect
	listed := make(map[string]bool, len(list))
	for _, o := range list {
		id, version := o.GetId(), versionOf(o)
		listed[id] = true
		if !s.gone[id] && s.versions[id] < version {
			found = append(found, suspect{id, version})
		}
	}
	for _, id := range known {
		// What has come since the reading began may have come after its part of it.
		if !listed[id] && s.versions[id] <= since {
			found = append(found, suspect{id: id})
		}
	}
	return found
}

func ids[T any](t table[T]) []string {
	list := make([]string, len(t.list))
	for i := range t.list {
		list[i] = t.id(t.list[i])
	}
	return list
}

// missed says what the stream should have brought since, if there is anything.
func (s *state) missed(suspects []suspect) error {
	for _, x := range suspects {
		version, known := s.versions[x.id]
		switch {
		case x.version == 0 && known:
			return fmt.Errorf("%s is gone, which it has not told", x.id)
		case x.version > 0 && !s.gone[x.id] && version < x.version:
			return fmt.Errorf("%s is at version %d, and it told of %d", x.id, x.version, version)
		}
	}
	return nil
}
