package soak

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// scenario is something that happens to clusters.
type scenario struct {
	name   string
	tested bool // make test plays it
	// onlyNative is a test that nginx is not put through: what it shows is not the
	// proxy's.
	onlyNative bool
	// crowded keeps the machine so busy that bare nginxes beside would leave Swarm no time
	// to start the tasks.
	crowded bool
	play    func(t *testing.T, i *installation) load.Result
	// verdict overrules what may be lost: nil is nothing, by any client.
	verdict func(t *testing.T, i *installation, r load.Result, bare *bareNginx)
}

// scenarios are in the order of docs/reliability.md.
var scenarios = []scenario{
	{name: "rolling updates", tested: true, play: rollingUpdates},
	{name: "scaling", tested: true, onlyNative: true, crowded: true, play: scaling},
	{name: "core and extension gone", tested: true, onlyNative: true, play: controlPlaneGone},
	{name: "proxy killed", tested: true, onlyNative: true, play: proxyKilled, verdict: lostInFlight},
	{name: "managers gone", play: managersGone},
	{name: "cut off", play: cutOff},
	{name: "link down", tested: true, onlyNative: true, play: linkDown, verdict: judged},
	{name: "faulty Docker API", tested: true, onlyNative: true, play: faultyAPI},
	{name: "running requests", tested: true, onlyNative: true, play: runningRequests},
	{name: "late listeners", play: lateListeners},
	{name: "churn beside websockets", play: churn},
	{name: "reconfigurations", play: reconfigurations},
	{name: "Interlock replaced", tested: true, onlyNative: true, play: replaced},
}

func TestSoak(t *testing.T) {
	lab.Require(t)
	check(t, up(t.Context()))
	for _, kind := range walkthrough.Kinds() {
		t.Run(kind, func(t *testing.T) {
			i := install(t, kind)
			for n, s := range scenarios {
				t.Run(fmt.Sprintf("%d_%s", n+1, s.name), func(t *testing.T) { i.put(t, n+1, s) })
			}
		})
	}
}

// put plays a scenario and says what came of it, whatever that is.
func (i *installation) put(t *testing.T, number int, s scenario) {
	if os.Getenv(form) == "" && (!s.tested || s.onlyNative && i.kind != "native") {
		t.Skip("this takes make soak")
	}
	began := time.Now()
	defer i.restore(t)
	defer func() {
		if t.Failed() {
			explain(t, began)
		}
	}()
	var b *beside
	if full && i.kind == "nginx" && !s.crowded {
		b = startBeside(t)
	}
	r := s.play(t, i)
	var bare *bareNginx
	if b != nil {
		bare = b.finish(t, began)
		t.Logf("bare nginxes beside lost %d in %d reloads; each of ours had %d", bare.lost, bare.reloads, bare.ours)
	}
	t.Logf("%d. %s · %s", number, s.name, line(r))
	for _, l := range r.Losses[:min(5, len(r.Losses))] {
		t.Log("lost: ", l)
	}
	for _, l := range r.Misroutings[:min(5, len(r.Misroutings))] {
		t.Error("misrouted: ", l)
	}
	if file := os.Getenv(report); file != "" {
		check(t, record(file, row{number: number, full: full, kind: i.kind, result: r, bare: bare}))
	}
	if r.SentInAll() == 0 {
		t.Error("nothing was sent")
	}
	verdict := s.verdict
	if verdict == nil {
		verdict = nothingLost
	}
	verdict(t, i, r, bare)
}

// explain logs what Interlock said meanwhile, but for the log of requests.
func explain(t *testing.T, since time.Time) {
	t.Helper()
	// An engine that stands still does not answer.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, service := range []string{"interlock", "interlock-ext", "interlock-proxy"} {
		out, err := site.Logs(ctx, service, "--since", since.Format(time.RFC3339Nano))
		lines := slices.DeleteFunc(strings.Split(out, "\n"), func(l string) bool { return !strings.Contains(l, "level=") })
		t.Logf("%s: %v\n%s", service, err, strings.Join(lines[max(0, len(lines)-100):], "\n"))
	}
}

// judged is the verdict on a scenario that has judged by itself.
func judged(*testing.T, *installation, load.Result, *bareNginx) {}

// nothingLost holds for every client of the native proxy. Of nginx's clients,
// those that keep connections may lose what broke with one, and about as much of
// it as with a bare nginx beside.
func nothingLost(t *testing.T, i *installation, r load.Result, bare *bareNginx) {
	t.Helper()
	broke := 0
	if i.kind == "nginx" {
		broke = broken(r)
	}
	if lost := r.LostInAll() - broke; lost > 0 {
		t.Errorf("%d of %d requests were lost, want none", lost, r.SentInAll())
	}
	if bare != nil && broke > bare.allowance() {
		t.Errorf("%d connections broke under a request, want at most %d", broke, bare.allowance())
	}
}
