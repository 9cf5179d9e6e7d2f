package core

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/probe"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// admit returns a reading in which the tasks that have just begun to run do so
// only once ask says that they accept connections; ask is given the addresses in
// each cluster, even if there are none any more.
func admit(desk *admission.Desk, snap *snapshot.Snapshot, clusters []route.Cluster, ask func(cluster string, addresses []netip.AddrPort) admission.Answer, now time.Time) admission.Verdict {
	reached := route.Reach(snap, clusters, desk.Arrivals(snap))
	addresses := make(map[string][]netip.AddrPort)
	for _, r := range reached {
		addresses[r.Cluster] = append(addresses[r.Cluster], r.Addr)
	}
	answers := make(map[string]admission.Answer)
	for _, c := range clusters {
		answers[c.Name] = ask(c.Name, addresses[c.Name])
	}
	return desk.Judge(reached, answers, now)
}

// admit has the clusters' proxies ask. Those without an agent cannot: their tasks
// are taken as they are.
func (r *reconciler) admit(snap *snapshot.Snapshot, clusters []route.Cluster, now time.Time) admission.Verdict {
	var able []route.Cluster
	for i, e := range r.settings.Extensions {
		if e.Hitless() {
			able = append(able, clusters[i])
		}
	}
	return admit(&r.desk, snap, able, r.deliverer.Probe, now)
}

// asker asks from this process, for a standalone.
type asker struct {
	knock     func(context.Context, netip.AddrPort) bool
	questions chan admission.Question
	news      func() // called when there is an answer

	mu      sync.Mutex
	inquiry admission.Inquiry
}

func newAsker(knock func(context.Context, netip.AddrPort) bool, news func()) *asker {
	if knock == nil {
		knock = probe.Knock
	}
	return &asker{knock: knock, questions: make(chan admission.Question, 1), news: news}
}

// run asks until ctx ends.
func (a *asker) run(ctx context.Context) error {
	prober := probe.Prober{Knock: a.knock, Accepts: func(round uint64, address netip.AddrPort) {
		a.mu.Lock()
		news := a.inquiry.Accept(round, address)
		a.mu.Unlock()
		if news {
			a.news()
		}
	}}
	prober.Run(ctx, a.questions)
	return nil
}

// ask replaces what is asked, and returns what is known of it. Only one goroutine
// may call it.
func (a *asker) ask(_ string, addresses []netip.AddrPort) admission.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inquiry.Ask(addresses) {
		select {
		case <-a.questions: // nobody has heard the one before
		default:
		}
		a.questions <- a.inquiry.Question()
	}
	return admission.Answer{Accepts: a.inquiry.Accepts(), Asked: true}
}
