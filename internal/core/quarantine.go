package core

import (
	"fmt"
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/quarantine"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	// undecidedLimit is how long the other proxies are waited for when one
	// refuses a bundle: if any of them serves it, the fault is not in the bundle.
	undecidedLimit = 10 * time.Second
	// trialLimit is how long a trial may take: to be rendered, to wait until the
	// proxy has finished with a bundle, and to be checked.
	trialLimit = 3 * time.Minute
	// atOnce is when to act again on what has just been learnt.
	atOnce = time.Millisecond
)

// court is where the refusals of one cluster's proxies are tried.
type court struct {
	ward    *quarantine.Ward
	refused string    // version of the bundle that was refused last
	since   time.Time // when the first proxy refused it
	witness string    // task of the proxy that trials are put to
}

func (r *reconciler) court(cluster string) *court {
	c := r.courts[cluster]
	if c == nil {
		c = &court{ward: quarantine.New(cluster)}
		r.courts[cluster] = c
	}
	return c
}

// taken is the reading with each service as it is to be routed.
func (r *reconciler) taken(snap *snapshot.Snapshot) *snapshot.Snapshot {
	taken := *snap
	for _, e := range r.settings.Extensions {
		taken.Services = r.court(e.ServiceCluster).ward.Take(taken.Services)
	}
	return &taken
}

// publishTrial has the extension render what is to be tried, if anything is.
func (r *reconciler) publishTrial(snap *snapshot.Snapshot, e settings.Extension, c route.Cluster, now time.Time) {
	wanted, ok := r.court(e.ServiceCluster).ward.Trial(snap.Services)
	if !ok {
		r.tables.endTrial(e.ServiceCluster)
		return
	}
	if current, trying := r.tables.trying(e.ServiceCluster); trying && current.number == wanted.Number {
		return
	}
	tried := *snap
	tried.Services = wanted.Services
	tables, _, _ := route.Build(&tried, []route.Cluster{c})
	r.tables.try(e.ServiceCluster, wanted.Number, &tables[0], parameters(e), now)
}

// judge draws the conclusions from what the proxies of a cluster say about the
// bundle of that version and about trials, and returns when to act again.
func (r *reconciler) judge(e settings.Extension, c *court, version string, now time.Time) time.Duration {
	statuses := r.statuses(e.ServiceCluster)
	c.ward.Serving(tableVersions(statuses))
	news, again := false, time.Duration(0)
	if version != "" && r.tables.rendered(e.ServiceCluster).current {
		news, again = c.verdict(statuses, version, now)
	}
	if !news {
		var later time.Duration
		news, later = r.hearTrial(e.ServiceCluster, c, statuses, version, now)
		again = sooner(again, later)
	}
	if news {
		return atOnce
	}
	return sooner(again, c.ward.Again(now))
}

// statuses are those of a cluster's connected proxies.
func (r *reconciler) statuses(cluster string) []delivery.Status {
	all, _ := r.deliverer.Statuses()
	return slices.DeleteFunc(slices.Clone(all), func(s delivery.Status) bool { return s.Cluster != cluster || !s.Connected })
}

func tableVersions(statuses []delivery.Status) []string {
	var versions []string
	for _, s := range statuses {
		versions = append(versions, s.TableVersion)
	}
	return versions
}

// verdict tells the ward whether the bundle is served or refused, once that is
// clear.
func (c *court) verdict(statuses []delivery.Status, version string, now time.Time) (news bool, again time.Duration) {
	refusal, undecided := "", false
	for _, s := range statuses {
		switch {
		case s.BundleVersion == version:
			return c.ward.Served(now), 0
		case s.RefusedVersion == version:
			refusal = s.Refusal
		default:
			undecided = undecided || s.LastError == ""
		}
	}
	if refusal == "" {
		return false, 0
	}
	if c.refused != version {
		c.refused, c.since = version, now
	}
	if left := undecidedLimit - now.Sub(c.since); undecided && left > 0 {
		return false, left
	}
	return c.ward.Refused(refusal, now), 0
}

// hearTrial puts the trial to a proxy and tells the ward the answer.
func (r *reconciler) hearTrial(cluster string, c *court, statuses []delivery.Status, refused string, now time.Time) (news bool, again time.Duration) {
	current, trying := r.tables.trying(cluster)
	if !trying {
		r.deliverer.Try(cluster, "", nil)
		return false, 0
	}
	if current.failure != "" {
		return c.ward.Tried(current.number, "it cannot be rendered: "+current.failure, now), 0
	}
	bundle, why := current.deliverable(), "the extension has not rendered it"
	if bundle != nil {
		why = "no proxy is connected"
		if s := c.choose(statuses, refused); s != nil {
			r.deliverer.Try(cluster, s.Task, bundle)
			if s.Tried.Version == bundle.Version() && s.Tried.Failure == "" {
				return c.ward.Tried(current.number, s.Tried.Refusal, now), 0
			}
			why = fmt.Sprintf("the proxy on node %s has not answered: %s", s.Node, s.Tried.Failure)
		}
	}
	if left := trialLimit - now.Sub(current.began); left > 0 {
		return false, left
	}
	c.ward.Abandon(why, now)
	return true, 0
}

// choose returns the proxy that trials are put to: the one before while it is
// there, else one that refuses what it should serve, else any.
func (c *court) choose(statuses []delivery.Status, refused string) *delivery.Status {
	for _, fits := range []func(delivery.Status) bool{
		func(s delivery.Status) bool { return s.Task == c.witness },
		func(s delivery.Status) bool { return refused != "" && s.RefusedVersion == refused },
		func(delivery.Status) bool { return true },
	} {
		if i := slices.IndexFunc(statuses, fits); i >= 0 {
			c.witness = statuses[i].Task
			return &statuses[i]
		}
	}
	return nil
}

// problems says who is in quarantine, and what a search has found that found
// nobody.
func (c *court) problems(proxyService string, e settings.Extension) []problem.Problem {
	var problems []problem.Problem
	for _, h := range c.ward.Held() {
		fate := "it is left out"
		if h.Kept {
			fate = "it is served with the labels, ports and networks that it had before"
		}
		problems = append(problems, problem.Problem{Kind: problem.Quarantined, Service: h.Service, Message: fmt.Sprintf(
			"the proxies refuse the configuration that its labels lead to, so %s and all others are served; it is tried again when it is updated, and from time to time; the proxy says: %s",
			fate, h.Refusal)})
	}
	p := problem.Problem{Kind: problem.BundleRefused, Service: proxyService}
	switch o := c.ward.Outcome(); o.Kind {
	case quarantine.NoOutcome:
		return problems
	case quarantine.NotAService:
		p.Kind, p.Message = problem.OptionsRefused, fmt.Sprintf(
			"its proxies refuse a configuration without any service too, so the fault is in config.toml (Extensions.%s) or in the proxies, which go on with what they had; they say: %s", e.Name, o.Refusal)
	case quarantine.NotWhenChecked:
		p.Message = "its proxies refuse to load a configuration that passes their check: see that their ports are free and that they have enough memory"
	case quarantine.Unanswered:
		p.Message = "the service that makes its proxies refuse the newest configuration was not found, and is searched for again in a while: " + o.Refusal
	}
	return append(problems, p)
}
