package rpc_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/render"
)

// runDeliverer delivers as the core does, with the identity that it was given.
func runDeliverer(t *testing.T, a authority, identity *pki.Identity, change ...func(*delivery.Options)) *delivery.Deliverer {
	t.Helper()
	d, _ := startDeliverer(t, a, identity, change...)
	return d
}

func startDeliverer(t *testing.T, a authority, identity *pki.Identity, change ...func(*delivery.Options)) (d *delivery.Deliverer, stop func()) {
	t.Helper()
	proxy := func(cluster string) pki.Name { return pki.Name{Role: pki.RoleProxy, Cluster: cluster} }
	options := delivery.Options{
		TLS:     func(cluster string) *tls.Config { return identity.ClientConfig(proxy(cluster)) },
		Sign:    func(cluster string, request []byte) ([]byte, error) { return a.sign(proxy(cluster), request) },
		RenewAt: pki.RenewAt,
		Logger:  silent(),
	}
	for _, c := range change {
		c(&options)
	}
	d = delivery.New(options)
	return d, background(t, d.Run)
}

// awaitStatus waits until the statuses are as a test wants them.
func awaitStatus(t *testing.T, d *delivery.Deliverer, what string, want func([]delivery.Status) bool) []delivery.Status {
	t.Helper()
	deadline := time.After(patience)
	for {
		statuses, outdated := d.Statuses()
		if want(statuses) {
			return statuses
		}
		select {
		case <-outdated:
		case <-deadline:
			t.Fatalf("it never came about that %s; the statuses are %+v", what, statuses)
		}
	}
}

func serving(version string) func([]delivery.Status) bool {
	return func(statuses []delivery.Status) bool {
		return len(statuses) > 0 && !slices.ContainsFunc(statuses, func(s delivery.Status) bool { return s.BundleVersion != version })
	}
}

func bundleOf(content string) *delivery.Bundle {
	return &delivery.Bundle{
		Bundle:     render.Bundle{Token: "t", Files: []render.File{{Path: "/etc/nginx/nginx.conf", Mode: 0o644, Content: render.NewContent([]byte(content))}}},
		Generation: 1, TableVersion: "table of " + content,
	}
}

func at(task string, addr netip.AddrPort) delivery.Proxy {
	return delivery.Proxy{Task: task, Node: "lb-00", Addr: addr}
}

func TestEveryProxyOfAClusterServesItsBundle(t *testing.T) {
	authority := newAuthority(t)
	east1, east2, west := newFakeAgent(), newFakeAgent(), newFakeAgent()
	address1, _ := serveAgent(t, east1, authority.identity(eastProx), "127.0.0.1:0", silent())
	address2, _ := serveAgent(t, east2, authority.identity(eastProx), "127.0.0.1:0", silent())
	address3, _ := serveAgent(t, west, authority.identity(westProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	eastBundle, westBundle := bundleOf("east"), bundleOf("west")
	d.Deliver("us-west", []delivery.Proxy{at("w", address3)}, westBundle)
	d.Deliver("us-east", []delivery.Proxy{at("b", address2), at("a", address1)}, eastBundle)
	statuses := awaitStatus(t, d, "all serve", func(s []delivery.Status) bool {
		return len(s) == 3 && s[0].BundleVersion != "" && s[1].BundleVersion != "" && s[2].BundleVersion != ""
	})
	for i, want := range []delivery.Status{
		{Cluster: "us-east", Proxy: at("a", address1), Connected: true, BundleVersion: eastBundle.Version(), TableVersion: "table of east"},
		{Cluster: "us-east", Proxy: at("b", address2), Connected: true, BundleVersion: eastBundle.Version(), TableVersion: "table of east"},
		{Cluster: "us-west", Proxy: at("w", address3), Connected: true, BundleVersion: westBundle.Version(), TableVersion: "table of west"},
	} {
		if statuses[i] != want {
			t.Errorf("status %d is %+v, want %+v", i, statuses[i], want)
		}
	}
}

func TestAProxyIsOnlyWatchedAsLongAsThereIsNoBundle(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	fake.status = agent.Status{BundleVersion: "from before", TableVersion: "old"}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, nil)
	awaitStatus(t, d, "the proxy says what it serves", serving("from before"))
	if got := fake.versions(); len(got) != 0 {
		t.Errorf("it was sent %v", got)
	}
	b := bundleOf("first")
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "the proxy serves the first bundle", serving(b.Version()))
}

func TestABundleThatAProxyServesAlreadyIsNotSentAgain(t *testing.T) {
	authority, fake, b, next := newAuthority(t), newFakeAgent(), bundleOf("a"), bundleOf("b")
	fake.status = agent.Status{BundleVersion: b.Version(), TableVersion: b.TableVersion}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	proxies := []delivery.Proxy{at("a", address)}
	d.Deliver("us-east", proxies, b)
	awaitStatus(t, d, "it is connected", serving(b.Version()))
	d.Deliver("us-east", proxies, next)
	awaitStatus(t, d, "it serves the next one", serving(next.Version()))
	if got, want := fake.versions(), []string{next.Version()}; !slices.Equal(got, want) {
		t.Errorf("it was sent %v, want %v", got, want)
	}
}

func TestARefusedBundleIsNotSentAgainUntilItChanges(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	bad, good, later := bundleOf("bad"), bundleOf("good"), bundleOf("later")
	fake.judge = func(b render.Bundle) error {
		if string(b.Files[0].Data()) == "bad" {
			return &agent.Refused{Reason: "nginx: [emerg] \xff is bad"}
		}
		return nil
	}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	proxies := []delivery.Proxy{at("a", address)}
	d.Deliver("us-east", proxies, good)
	awaitStatus(t, d, "it serves the good one", serving(good.Version()))
	d.Deliver("us-east", proxies, bad)
	refused := awaitStatus(t, d, "it refuses the bad one", func(s []delivery.Status) bool { return s[0].RefusedVersion == bad.Version() })
	if refused[0].Refusal != "nginx: [emerg] \uFFFD is bad" || refused[0].BundleVersion != good.Version() {
		t.Errorf("its status is %+v", refused[0])
	}
	for range 5 {
		d.Deliver("us-east", proxies, bundleOf("bad")) // the same content, made anew
	}
	d.Deliver("us-east", proxies, later)
	awaitStatus(t, d, "it serves a later one", serving(later.Version()))
	if got, want := fake.versions(), []string{good.Version(), bad.Version(), later.Version()}; !slices.Equal(got, want) {
		t.Errorf("it was sent %v, want %v", got, want)
	}
}

func TestARefusalIsRememberedByTheProxyAndForgottenWithItsRestart(t *testing.T) {
	authority, bad := newAuthority(t), bundleOf("bad")
	identity := authority.identity(eastProx)
	remembering := newFakeAgent()
	remembering.status = agent.Status{BundleVersion: "good", RefusedVersion: bad.Version(), Refusal: "no"}
	address, stop := serveAgent(t, remembering, identity, "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, bad)
	awaitStatus(t, d, "it is connected", serving("good"))
	stop()
	awaitStatus(t, d, "it is gone", func(s []delivery.Status) bool { return !s[0].Connected })
	if got := remembering.versions(); len(got) != 0 {
		t.Errorf("it was sent %v, which it had refused", got)
	}
	restarted := newFakeAgent()
	serveAgent(t, restarted, identity, address.String(), silent())
	awaitStatus(t, d, "the restarted one serves it", serving(bad.Version()))
}

func TestAProxyThatMovesIsServedAtItsNewPlaceAndHungUpOnAtTheOldOne(t *testing.T) {
	authority, before, after, b := newAuthority(t), newFakeAgent(), newFakeAgent(), bundleOf("a")
	oldAddress, _ := serveAgent(t, before, authority.identity(eastProx), "127.0.0.1:0", silent())
	old := relayTo(t, oldAddress)
	newAddress, _ := serveAgent(t, after, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", old.address)}, b)
	awaitStatus(t, d, "it serves at the old place", serving(b.Version()))
	d.Deliver("us-east", []delivery.Proxy{at("b", newAddress)}, b)
	awaitStatus(t, d, "it serves at the new place", func(s []delivery.Status) bool {
		return len(s) == 1 && s[0].Proxy == at("b", newAddress) && s[0].BundleVersion == b.Version()
	})
	receive(t, old.hungUp, "the end of the old connection")
	d.Deliver("us-east", nil, nil)
	awaitStatus(t, d, "no proxy is left", func(s []delivery.Status) bool { return len(s) == 0 })
}

func TestWhatIsOutOfDateBehindASlowProxyIsSkipped(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	begun, proceed := make(chan bool, 10), make(chan bool)
	fake.judge = func(render.Bundle) error {
		begun <- true
		<-proceed
		return nil
	}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	proxies := []delivery.Proxy{at("a", address)}
	first, last := bundleOf("first"), bundleOf("last")
	d.Deliver("us-east", proxies, first)
	receive(t, begun, "the first bundle")
	for _, content := range []string{"second", "third", "fourth"} {
		d.Deliver("us-east", proxies, bundleOf(content))
	}
	d.Deliver("us-east", proxies, last)
	close(proceed)
	awaitStatus(t, d, "it serves the last one", serving(last.Version()))
	if got, want := fake.versions(), []string{first.Version(), last.Version()}; !slices.Equal(got, want) {
		t.Errorf("it was sent %v, want %v", got, want)
	}
}

func TestABundleThatComesBackIsSentThoughTheProxysStatusLagsBehind(t *testing.T) {
	authority, fake, a, b := newAuthority(t), newFakeAgent(), bundleOf("a"), bundleOf("b")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	proxies := []delivery.Proxy{at("p", address)}
	d.Deliver("us-east", proxies, a)
	awaitStatus(t, d, "it serves a", serving(a.Version()))
	fake.setMute(true)
	d.Deliver("us-east", proxies, b)
	eventually(t, "b is sent", func() bool { return len(fake.versions()) == 2 })
	d.Deliver("us-east", proxies, a) // which the proxy serves, by its last status
	eventually(t, "a is sent again", func() bool { return slices.Equal(fake.versions(), []string{a.Version(), b.Version(), a.Version()}) })
}

func TestTheSameBundleForAnotherTableIsSentSoThatTheProxyKnowsTheTable(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	proxies := []delivery.Proxy{at("a", address)}
	d.Deliver("us-east", proxies, b)
	awaitStatus(t, d, "it serves it", serving(b.Version()))
	renamed := *b
	renamed.TableVersion = "another table"
	d.Deliver("us-east", proxies, &renamed)
	awaitStatus(t, d, "it serves the other table", func(s []delivery.Status) bool { return s[0].TableVersion == "another table" })
}

func TestABundleOfTwentyMegabytesReachesAProxy(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf(strings.Repeat("x", 20<<20))
	b.TableVersion = "table" // it comes back in the status
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "it serves it", serving(b.Version()))
}

func TestTheCertificatesAndKeysOfThousandsOfHostsReachAProxy(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	const hosts, chainAndKey = 5_000, 8 << 10 // three certificates and a key, RSA of 2048 bits
	for i := range hosts {
		b.Files = append(b.Files, render.File{
			Path: fmt.Sprintf("%s/%064d.pem", render.SensitiveDir, i), Mode: 0o400, Sensitive: true, Content: render.NewContent(make([]byte, chainAndKey)),
		})
	}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "it serves it", serving(b.Version()))
}

func TestABundleThatIsTooBigIsNamedAndNotTriedInAFrenzy(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf(strings.Repeat("x", 65<<20))
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "its status says so", func(s []delivery.Status) bool {
		return len(s) == 1 && s[0].Connected && strings.Contains(s[0].LastError, "larger than max")
	})
}

func TestOnlyTheProxyThatIsMeantIsTalkedTo(t *testing.T) {
	authority := newAuthority(t)
	for name, test := range map[string]struct {
		proxy, core *pki.Identity
		want        string
	}{
		"a proxy of another cluster": {authority.identity(westProx), authority.identity(theCore), "interlock://proxy/us-west instead of interlock://proxy/us-east"},
		"a proxy of elsewhere":       {newAuthority(t).identity(eastProx), authority.identity(theCore), "unknown authority"},
		"a core of elsewhere":        {authority.identity(eastProx), newAuthority(t).identity(theCore), "unknown authority"},
		"an extension as the core":   {authority.identity(eastProx), authority.identity(eastExt), "bad certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFakeAgent()
			address, _ := serveAgent(t, fake, test.proxy, "127.0.0.1:0", silent())
			d := runDeliverer(t, authority, test.core)
			d.Deliver("us-east", []delivery.Proxy{at("a", address)}, bundleOf("a"))
			awaitStatus(t, d, "its status says why", func(s []delivery.Status) bool {
				return len(s) == 1 && !s[0].Connected && strings.Contains(s[0].LastError, test.want)
			})
			if got := fake.versions(); len(got) != 0 {
				t.Errorf("it was sent %v", got)
			}
		})
	}
}

func TestAProxysIdentityIsRenewedOverTheOpenChannel(t *testing.T) {
	authority, fake, b := newAuthority(t), newFakeAgent(), bundleOf("a")
	identity := authority.shortLived(eastProx, 30*time.Minute) // what it is renewed for is valid for longer
	first := identity.Expires()
	address, stop := serveAgent(t, fake, identity, "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore), func(o *delivery.Options) {
		o.RenewAt = func(_, notAfter time.Time) time.Time {
			if notAfter.Equal(first) {
				return time.Now()
			}
			return notAfter
		}
	})
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, nil)
	eventually(t, "the identity is renewed", func() bool { return identity.Expires().After(first.Add(time.Minute)) })
	stop()
	serveAgent(t, fake, identity, address.String(), silent())
	conn, err := tls.Dial("tcp", address.String(), authority.identity(theCore).ClientConfig(eastProx))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if shown := conn.ConnectionState().PeerCertificates[0].NotAfter; !shown.Equal(identity.Expires()) {
		t.Errorf("it shows a certificate that expires at %s, not the renewed one", shown)
	}
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "it serves, known by its new certificate", serving(b.Version()))
}

func TestAProxyThatAnotherMovedIsSentItsBundleAgain(t *testing.T) {
	authority, fake, b, other := newAuthority(t), newFakeAgent(), bundleOf("a"), bundleOf("somebody else's")
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, b)
	awaitStatus(t, d, "it serves its bundle", serving(b.Version()))
	if err := fake.Apply(t.Context(), other.Bundle, other.TableVersion); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, d, "it was moved", serving(other.Version()))
	awaitStatus(t, d, "it serves its bundle again", serving(b.Version()))
}

func epoch(n uint64) func(*delivery.Options) {
	return func(o *delivery.Options) { o.Epoch = n }
}

func TestOfTwoCoresTheOneThatStartedLaterIsObeyed(t *testing.T) {
	t.Parallel() // the older core tries again after 5 s
	authority, fake := newAuthority(t), newFakeAgent()
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	proxies := []delivery.Proxy{at("a", address)}
	older := runDeliverer(t, authority, authority.identity(theCore), epoch(1))
	newer, end := startDeliverer(t, authority, authority.identity(theCore), epoch(2))
	outranked := func(s []delivery.Status) bool { return s[0].LastError == "a newer core is in charge" }

	a, b, c := bundleOf("a"), bundleOf("b"), bundleOf("c")
	older.Deliver("us-east", proxies, a)
	awaitStatus(t, older, "it serves the only core's bundle", serving(a.Version()))
	newer.Deliver("us-east", proxies, b)
	awaitStatus(t, newer, "it serves the newer core's bundle", serving(b.Version()))
	awaitStatus(t, older, "the older core knows", outranked)
	older.Deliver("us-east", proxies, c)
	older.Deliver("us-east", proxies, b)
	awaitStatus(t, older, "what both want is no trouble", func(s []delivery.Status) bool { return s[0].LastError == "" })
	older.Deliver("us-east", proxies, c)
	awaitStatus(t, older, "the older core is not obeyed", outranked)
	if got, want := fake.versions(), []string{a.Version(), b.Version()}; !slices.Equal(got, want) {
		t.Errorf("it was sent %v, want %v", got, want)
	}
	end()
	awaitStatus(t, older, "the older core is obeyed when it is alone", serving(c.Version()))
}

func TestACoreThatHasNothingToBringOutranksNobody(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	proxies := []delivery.Proxy{at("a", address)}
	idle := runDeliverer(t, authority, authority.identity(theCore), epoch(2))
	idle.Deliver("us-east", proxies, nil)
	awaitStatus(t, idle, "the idle core watches", func(s []delivery.Status) bool { return len(s) == 1 && s[0].Connected })
	busy := runDeliverer(t, authority, authority.identity(theCore), epoch(1))
	for _, b := range []*delivery.Bundle{bundleOf("a"), bundleOf("b")} {
		busy.Deliver("us-east", proxies, b)
		awaitStatus(t, busy, "the older core's bundle is served", serving(b.Version()))
	}
}

func TestAnAgentThatSaysTooMuchIsNotListenedTo(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	fake.status = agent.Status{BundleVersion: strings.Repeat("x", 65<<10)}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, nil)
	awaitStatus(t, d, "its status says why", func(s []delivery.Status) bool {
		return len(s) == 1 && !s[0].Connected && strings.Contains(s[0].LastError, "larger than max")
	})
}

func TestAProxyIsAskedAboutABundleWithoutHavingToServeIt(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	good, bad, fine := bundleOf("good"), bundleOf("bad"), bundleOf("fine")
	fake.judge = func(b render.Bundle) error {
		if string(b.Files[0].Data()) == "bad" {
			return &agent.Refused{Reason: "it is bad"}
		}
		return nil
	}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	d.Deliver("us-east", []delivery.Proxy{at("a", address)}, good)
	for _, question := range []struct {
		about *delivery.Bundle
		want  delivery.Answer
	}{{bad, delivery.Answer{Version: bad.Version(), Refusal: "it is bad"}}, {fine, delivery.Answer{Version: fine.Version()}}} {
		d.Try("us-east", "a", question.about)
		awaitStatus(t, d, "the answer comes", func(s []delivery.Status) bool { return len(s) == 1 && s[0].Tried == question.want })
	}
	statuses := awaitStatus(t, d, "it serves the good one", serving(good.Version()))
	if got := fake.versions(); !slices.Equal(got, []string{good.Version()}) || statuses[0].RefusedVersion != "" {
		t.Errorf("it was sent %v, and its status is %+v", got, statuses[0])
	}
}

func TestOnlyTheProxyThatIsMeantIsAskedAndTriesAgainWhatItCouldNotJudge(t *testing.T) {
	authority, meant, other := newAuthority(t), newFakeAgent(), newFakeAgent()
	var asked atomic.Int32
	meant.judge = func(render.Bundle) error {
		if asked.Add(1) == 1 {
			return errors.New("the disk is full")
		}
		return nil
	}
	other.judge = func(render.Bundle) error { t.Error("the other one was asked"); return nil }
	address, _ := serveAgent(t, meant, authority.identity(eastProx), "127.0.0.1:0", silent())
	address2, _ := serveAgent(t, other, authority.identity(eastProx), "127.0.0.1:0", silent())
	d := runDeliverer(t, authority, authority.identity(theCore))
	b := bundleOf("b")
	d.Deliver("us-east", []delivery.Proxy{at("a", address), at("b", address2)}, nil)
	d.Try("us-east", "a", b)
	awaitStatus(t, d, "why it did not judge is told", func(s []delivery.Status) bool {
		return len(s) == 2 && s[0].Tried == delivery.Answer{Version: b.Version(), Failure: "the disk is full"}
	})
	awaitStatus(t, d, "it judges", func(s []delivery.Status) bool { return s[0].Tried == delivery.Answer{Version: b.Version()} })
}
