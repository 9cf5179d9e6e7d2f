// Package quarantine keeps one service from spoiling the configuration of all.
// When the proxies of a cluster refuse a table, it finds out by trials which
// services are behind it, and keeps these as they were last accepted, or out,
// until they change or a growing pause is over.
//
// It makes no tables, knows no proxy and has no clock: it says what each service
// should be taken for, and is told what proxies answer, and when.
package quarantine

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	// firstPause is after how long a service that was found guilty is tried
	// again, if it does not change before; each time the pause doubles.
	firstPause   = 5 * time.Minute
	longestPause = time.Hour
	// firstRest is how long nothing is searched after a search that found
	// nobody; it doubles with each until the proxies accept something.
	firstRest = time.Minute
	// restless is how many searches in a row may follow each other at once.
	restless = 3
)

// specs are services by ID.
type specs map[string]*snapshot.ServiceSpec

// Ward watches over the services of one cluster. It is synchronous and not safe
// for concurrent use.
type Ward struct {
	cluster string
	// taken is what the newest table was made of.
	taken *account
	// published are the newest tables, the newest one last.
	published []published
	// accepted is what the last table was made of that a proxy served; nil: not
	// known in this life of the core.
	accepted *account
	holds    map[string]*hold
	inquiry  *inquiry
	trials   int // so far: they are numbered

	searches  int // since the last acceptance
	restUntil time.Time
	outcome   Outcome
}

// account is what all of Swarm's services were taken for at one time. Every change
// in Swarm makes one, and hardly any is asked for who is in it.
type account struct {
	cluster  string
	services []*snapshot.Service
	known    specs // nil: not asked for yet
}

// specs are those that concern the cluster. It may be called on no account.
func (a *account) specs() specs {
	if a == nil {
		return nil
	}
	if a.known == nil {
		a.known = make(specs)
		for _, s := range a.services {
			if concerns(a.cluster, s) {
				a.known[s.ID] = &s.Spec
			}
		}
	}
	return a.known
}

// published is a table, and what it was made of.
type published struct {
	version string
	taken   *account
}

// remembered is how many tables a proxy's word may be late.
const remembered = 16

// hold is a service that is not taken for what it asks to be.
type hold struct {
	spec    snapshot.ServiceSpec  // which was refused
	last    *snapshot.ServiceSpec // what it is taken for; nil: it is left out
	refusal string
	pause   time.Duration
	until   time.Time
	// paroled: it is taken for what it asks to be again, and not accepted yet.
	paroled bool
}

// New makes a ward of a cluster, of which it knows nothing yet.
func New(cluster string) *Ward { return &Ward{cluster: cluster, holds: make(map[string]*hold)} }

// Take returns what the services are to be taken for, for the table that the
// proxies should serve. It takes all services of Swarm and changes none that
// is not of the cluster. The list that it is given stays as it is.
func (w *Ward) Take(services []*snapshot.Service) []*snapshot.Service {
	if len(w.holds) > 0 {
		w.release(services)
	}
	taken := services
	if len(w.holds) > 0 || w.inquiry != nil {
		taken = w.replace(services, w.real)
	}
	w.taken = &account{cluster: w.cluster, services: taken}
	return taken
}

// release lets go of who has changed or is no longer there.
func (w *Ward) release(services []*snapshot.Service) {
	present := make(map[string]bool, len(w.holds))
	for _, s := range services {
		if h := w.holds[s.ID]; h != nil {
			present[s.ID] = concerns(w.cluster, s) && same(&h.spec, &s.Spec)
		}
	}
	maps.DeleteFunc(w.holds, func(id string, _ *hold) bool { return !present[id] })
}

// Published is told the version of the table that was made of the last Take.
func (w *Ward) Published(version string) {
	w.published = slices.DeleteFunc(w.published, func(p published) bool { return p.version == version })
	if len(w.published) == remembered {
		w.published = slices.Delete(w.published, 0, 1)
	}
	w.published = append(w.published, published{version, w.taken})
}

// Trial is a table to be tried without being served.
type Trial struct {
	Number int // grows with every trial of a ward
	// Services are what all of Swarm's are to be taken for.
	Services []*snapshot.Service
}

// Trial returns what is to be tried now, if anything is. It stays the same until
// it is answered.
func (w *Ward) Trial(services []*snapshot.Service) (Trial, bool) {
	if w.inquiry == nil || w.inquiry.loading {
		return Trial{}, false
	}
	return Trial{Number: w.trials, Services: w.replace(services, w.inquiry.trial)}, true
}

// replace returns the services with the specifications that as gives them, and
// without those to which it gives none.
func (w *Ward) replace(services []*snapshot.Service, as func(*snapshot.Service) *snapshot.ServiceSpec) []*snapshot.Service {
	list := make([]*snapshot.Service, 0, len(services))
	for _, s := range services {
		if concerns(w.cluster, s) || w.inquiry.knows(s.ID) {
			spec := as(s)
			if spec == nil {
				continue
			}
			if spec != &s.Spec {
				replaced := *s
				replaced.Spec = *spec
				s = &replaced
			}
		}
		list = append(list, s)
	}
	return list
}

// real is what a service is taken for in the table that proxies should serve;
// nil: it is left out.
func (w *Ward) real(s *snapshot.Service) *snapshot.ServiceSpec {
	if q := w.inquiry; q != nil && q.scope == changed {
		if q.loading {
			return q.trial(s)
		}
		return q.base[s.ID]
	}
	if h := w.holds[s.ID]; h != nil && !h.paroled {
		return h.last
	}
	return &s.Spec
}

// concerns reports whether a service wants to be routed by a cluster.
func concerns(cluster string, s *snapshot.Service) bool {
	if s.Spec.Labels[label.Prefix+"service_cluster"] != cluster {
		return false
	}
	for name := range s.Spec.Labels {
		if strings.HasPrefix(name, label.Prefix) {
			return true
		}
	}
	return false
}

// same compares all of a specification that a table can be made of.
func same(a, b *snapshot.ServiceSpec) bool {
	return a.Name == b.Name && maps.Equal(a.Labels, b.Labels) &&
		slices.Equal(a.Ports, b.Ports) && slices.Equal(a.Networks, b.Networks)
}

// Held is a service in quarantine.
type Held struct {
	Service string // name
	Refusal string
	// Kept: it is served as it was last accepted; else it is left out.
	Kept bool
}

// Held returns the services in quarantine, sorted by name.
func (w *Ward) Held() []Held {
	var list []Held
	for _, h := range w.holds {
		if !h.paroled {
			list = append(list, Held{Service: h.spec.Name, Refusal: h.refusal, Kept: h.last != nil})
		}
	}
	slices.SortFunc(list, func(a, b Held) int { return cmp.Compare(a.Service, b.Service) })
	return list
}

// Again returns after how long something is due by itself; 0 if nothing is.
func (w *Ward) Again(now time.Time) time.Duration {
	var soonest time.Duration
	due := func(at time.Time) {
		if left := at.Sub(now); left > 0 && (soonest == 0 || left < soonest) {
			soonest = left
		}
	}
	due(w.restUntil)
	for _, h := range w.holds {
		if !h.paroled {
			due(h.until)
		}
	}
	return soonest
}
