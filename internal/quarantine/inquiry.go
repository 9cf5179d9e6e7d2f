package quarantine

import (
	"maps"
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// scope says whom an inquiry suspects.
type scope int

const (
	// changed: who is new or has changed since the last table that was served.
	// Meanwhile the proxies get the others' news, and the suspects as they were.
	changed scope = iota
	// everyone, as it is not known what was served, or as that is refused too.
	// The proxies stay with what they have.
	everyone
	// due: who is in quarantine and has waited for long enough.
	due
)

// inquiry is a search under way.
type inquiry struct {
	scope  scope
	search *search
	// suspects are pinned, and base is what everyone else is taken for, and the
	// suspects that a trial is without: whoever is in neither is left out.
	suspects, base specs
	// loading: trials are served instead of being checked only, since what was
	// refused passes the check.
	loading bool
	// included are the suspects that the present trial is with, by ID.
	included map[string]bool
}

// use makes a search the inquiry's.
func (q *inquiry) use(s *search) {
	q.search = s
	q.include()
}

func (q *inquiry) include() {
	q.included = make(map[string]bool)
	for _, id := range q.search.trial() {
		q.included[id] = true
	}
}

// knows reports whether the inquiry has a word to say about a service, whatever
// its labels are by now. It may be called on none.
func (q *inquiry) knows(id string) bool {
	return q != nil && (q.suspects[id] != nil || q.base[id] != nil)
}

func (q *inquiry) trial(s *snapshot.Service) *snapshot.ServiceSpec {
	if q.included[s.ID] {
		return q.suspects[s.ID]
	}
	return q.base[s.ID]
}

// Outcome says what a search came to that has found nobody.
type Outcome struct {
	Kind    OutcomeKind
	Refusal string
}

// OutcomeKind says why a search has found nobody.
type OutcomeKind string

// Why a search has found nobody.
const (
	// NoOutcome: there was none since proxies accepted something, or it found
	// whom it looked for.
	NoOutcome OutcomeKind = ""
	// NotAService: a table without any service is refused too.
	NotAService OutcomeKind = "not-a-service"
	// NotWhenChecked: what a proxy refused to serve passes its check.
	NotWhenChecked OutcomeKind = "not-when-checked"
	// Unanswered: nobody answered a trial; the refusal is what went wrong.
	Unanswered OutcomeKind = "unanswered"
)

// Outcome returns what the last search came to.
func (w *Ward) Outcome() Outcome { return w.outcome }

// Served is told that a proxy serves the table of the last Take. It returns
// whether Take or Trial would answer otherwise now.
func (w *Ward) Served(now time.Time) (news bool) {
	if q := w.inquiry; q != nil {
		if q.loading {
			w.answer("", now)
		}
		return q.loading
	}
	w.accepted = w.taken
	w.searches, w.restUntil, w.outcome = 0, time.Time{}, Outcome{}
	maps.DeleteFunc(w.holds, func(id string, h *hold) bool {
		if !h.paroled {
			return false
		}
		taken := w.taken.specs()[id]
		return taken != nil && same(taken, &h.spec)
	})
	return w.retry(now)
}

// Serving is told the versions of the tables that proxies serve, whether or not
// they are wanted any more: the newest one is what a search can rely on.
func (w *Ward) Serving(versions []string) {
	if w.inquiry != nil {
		return
	}
	for _, p := range slices.Backward(w.published) {
		if slices.Contains(versions, p.version) {
			w.accepted = p.taken
			return
		}
	}
}

// Refused is told that proxies refuse the table of the last Take and that none
// serves it. It returns whether Take or Trial would answer otherwise now.
func (w *Ward) Refused(refusal string, now time.Time) (news bool) {
	switch q := w.inquiry; {
	case q != nil && q.loading:
		w.answer(refusal, now)
	case q != nil && q.scope == due:
		// What is new goes first: the inquiry begins anew after that.
		w.inquiry = nil
		return w.Refused(refusal, now)
	case q != nil || now.Before(w.restUntil):
		return false
	default:
		w.inquire()
	}
	return true
}

// Tried is told the answer to a trial; an empty refusal: it was accepted. It
// returns whether Take or Trial would answer otherwise now.
func (w *Ward) Tried(number int, refusal string, now time.Time) (news bool) {
	if w.inquiry == nil || w.inquiry.loading || number != w.trials {
		return false
	}
	w.answer(refusal, now)
	return true
}

// Abandon ends the search under way, of which a trial was not answered.
func (w *Ward) Abandon(why string, now time.Time) {
	if w.inquiry == nil {
		return
	}
	w.postpone(now)
	w.fail(Outcome{Unanswered, why}, now)
}

// inquire begins a search among those who are new or have changed.
func (w *Ward) inquire() {
	suspects := make(specs)
	accepted := w.accepted.specs()
	for id, spec := range w.taken.specs() {
		if before := accepted[id]; before == nil || !same(before, spec) {
			suspects[id] = spec
		}
	}
	if w.accepted == nil || len(suspects) == 0 {
		w.inquireEveryone()
		return
	}
	w.begin(&inquiry{scope: changed, suspects: suspects, base: w.accepted.specs()})
}

// inquireEveryone suspects those in quarantine too, of being bad even as they
// were.
func (w *Ward) inquireEveryone() {
	w.begin(&inquiry{scope: everyone, suspects: w.taken.specs(), base: specs{}})
}

// retry begins a search among those in quarantine who have waited long enough.
func (w *Ward) retry(now time.Time) bool {
	suspects := make(specs)
	for id, h := range w.holds {
		if !h.paroled && !now.Before(h.until) {
			suspects[id] = &h.spec
		}
	}
	if len(suspects) == 0 {
		return false
	}
	w.begin(&inquiry{scope: due, suspects: suspects, base: w.accepted.specs()})
	return true
}

func (w *Ward) begin(q *inquiry) {
	q.use(newSearch(slices.Sorted(maps.Keys(q.suspects))))
	w.inquiry = q
	w.trials++
}

// answer goes on with the search under way.
func (w *Ward) answer(refusal string, now time.Time) {
	q := w.inquiry
	w.trials++
	q.search.tell(refusal)
	q.include()
	switch q.search.phase {
	case harmless:
		w.exonerated(now)
	case baseBad:
		w.misled(now)
	case found:
		w.convict(now)
	}
}

// exonerated: all suspects together pass the check.
func (w *Ward) exonerated(now time.Time) {
	q := w.inquiry
	switch q.scope {
	case due:
		w.parole(q.search.suspects)
		w.inquiry = nil
	case changed:
		q.loading = true
		q.use(newSearchRefused(q.search.suspects, "refused when loaded, though the check accepts it"))
	case everyone:
		w.fail(Outcome{Kind: NotWhenChecked}, now)
	}
}

// misled: it is refused without any of the suspects too.
func (w *Ward) misled(now time.Time) {
	q := w.inquiry
	switch q.scope {
	case due:
		w.postpone(now)
		w.inquiry = nil
	case changed:
		w.taken = &account{known: q.now()}
		w.inquireEveryone()
	case everyone:
		w.fail(Outcome{NotAService, q.search.words}, now)
	}
}

// now is everyone, the suspects as they ask to be taken.
func (q *inquiry) now() specs {
	all := maps.Clone(q.base)
	maps.Copy(all, q.suspects)
	return all
}

// convict puts the guilty into quarantine and lets the others go.
func (w *Ward) convict(now time.Time) {
	q := w.inquiry
	w.inquiry = nil
	guilty := make(map[string]bool)
	for _, c := range q.search.guilty {
		guilty[c.id] = true
		w.hold(c, q, now)
	}
	if q.scope == due {
		w.parole(slices.DeleteFunc(slices.Clone(q.search.suspects), func(id string) bool { return guilty[id] }))
		return
	}
	w.outcome = Outcome{}
	if w.searches++; w.searches > restless {
		w.restUntil = now.Add(doubled(firstRest, w.searches-restless-1))
	}
}

func (w *Ward) hold(c conviction, q *inquiry, now time.Time) {
	h := w.holds[c.id]
	switch {
	case h == nil:
		h = &hold{spec: *q.suspects[c.id]}
		w.holds[c.id] = h
	case q.scope == everyone && !h.paroled:
		// What was refused is what it was; what it asks to be was before.
	default:
		h.spec = *q.suspects[c.id]
	}
	h.refusal, h.paroled, h.last = c.refusal, false, nil
	if last := q.base[c.id]; last != nil {
		kept := *last
		h.last = &kept
	}
	h.wait(now)
}

// wait makes the pause longer than the one before.
func (h *hold) wait(now time.Time) {
	h.pause = max(firstPause, min(2*h.pause, longestPause))
	h.until = now.Add(h.pause)
}

// parole takes services for what they ask to be, until proxies have judged that.
func (w *Ward) parole(ids []string) {
	for _, id := range ids {
		if h := w.holds[id]; h != nil {
			h.paroled = true
		}
	}
}

// postpone puts off what is due, when a search came to nothing.
func (w *Ward) postpone(now time.Time) {
	if w.inquiry.scope != due {
		return
	}
	for id := range w.inquiry.suspects {
		if h := w.holds[id]; h != nil {
			h.wait(now)
		}
	}
}

// fail ends the search under way, which has found nobody.
func (w *Ward) fail(o Outcome, now time.Time) {
	retried := w.inquiry.scope == due
	w.inquiry = nil
	if retried {
		return
	}
	w.outcome = o
	w.restUntil = now.Add(doubled(firstRest, w.searches))
	w.searches++
}

// doubled is a pause that has been doubled so many times.
func doubled(pause time.Duration, times int) time.Duration {
	for ; times > 0 && pause < longestPause; times-- {
		pause *= 2
	}
	return min(pause, longestPause)
}
