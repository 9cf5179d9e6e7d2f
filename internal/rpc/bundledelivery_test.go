package rpc_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/grpc"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/delivery"
	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/wire"
)

// rawAgent records what it is sent, and answers what it is told to.
type rawAgent struct {
	interlockv1.UnimplementedAgentServiceServer
	changes bool
	applies chan *interlockv1.ApplyBundleRequest
	answer  func(*interlockv1.ApplyBundleRequest) *interlockv1.ApplyBundleResponse
	status  chan *interlockv1.WatchStatusResponse // what it says next
}

func (a *rawAgent) WatchStatus(_ *interlockv1.WatchStatusRequest, stream grpc.ServerStreamingServer[interlockv1.WatchStatusResponse]) error {
	for {
		select {
		case message := <-a.status:
			message.Changes = a.changes
			if err := stream.Send(message); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (a *rawAgent) ApplyBundle(_ context.Context, request *interlockv1.ApplyBundleRequest) (*interlockv1.ApplyBundleResponse, error) {
	a.applies <- request
	if a.answer == nil {
		return &interlockv1.ApplyBundleResponse{}, nil
	}
	return a.answer(request), nil
}

func (a *rawAgent) says(serves, table string) {
	a.status <- &interlockv1.WatchStatusResponse{BundleVersion: serves, TableVersion: table}
}

// delivering is a deliverer with a raw agent as its only proxy, which says that it
// serves a bundle.
func delivering(t *testing.T, a *rawAgent, serves, table string) (d *delivery.Deliverer, deliver func(*delivery.Bundle)) {
	t.Helper()
	authority := newAuthority(t)
	a.applies, a.status = make(chan *interlockv1.ApplyBundleRequest, 100), make(chan *interlockv1.WatchStatusResponse, 100)
	a.says(serves, table)
	endpoint := serveRaw(t, authority.identity(eastProx), pki.RoleCore, func(s *grpc.Server) { interlockv1.RegisterAgentServiceServer(s, a) })
	d = runDeliverer(t, authority, authority.identity(theCore))
	proxies := []delivery.Proxy{at("a", netip.MustParseAddrPort(endpoint))}
	return d, func(b *delivery.Bundle) { d.Deliver("us-east", proxies, b) }
}

// shelfFor is what shelfOf is, as it is delivered.
func shelfFor(word string) *delivery.Bundle {
	return &delivery.Bundle{Bundle: shelfOf(word), Generation: 1, TableVersion: word, Swapped: true}
}

func TestAProxyIsSentWhatChanged(t *testing.T) {
	proxy := &rawAgent{changes: true}
	d, deliver := delivering(t, proxy, "", "")
	one, two, three := shelfFor("one"), shelfFor("two"), shelfFor("three")
	deliver(one)
	if got := receive(t, proxy.applies, "the first bundle"); got.GetBundle().GetVersion() != one.Version() {
		t.Errorf("the first one is %v", got)
	}
	proxy.says(one.Version(), "one")
	deliver(two)
	change := receive(t, proxy.applies, "the change").GetChange()
	if change.GetBase() != one.Version() || change.GetVersion() != two.Version() || len(change.GetFiles()) != 1 {
		t.Errorf("the second one is the change %v", change)
	}
	// Its word counts, not what it was sent.
	proxy.says(two.Version(), "two")
	awaitStatus(t, d, "it serves the second one", serving(two.Version()))
	proxy.says("something else", "two")
	awaitStatus(t, d, "it serves something else", serving("something else"))
	deliver(three)
	if got := receive(t, proxy.applies, "the third bundle"); got.GetBundle().GetVersion() != three.Version() {
		t.Errorf("the third one is %v", got)
	}
}

func TestAProxyThatServedAFormerBundleWhenItWasDialledIsSentWhatChanged(t *testing.T) {
	one, two := shelfFor("one"), shelfFor("two")
	proxy := &rawAgent{changes: true}
	d, deliver := delivering(t, proxy, one.Version(), "one")
	deliver(one)
	awaitStatus(t, d, "it is connected", serving(one.Version()))
	deliver(two)
	if change := receive(t, proxy.applies, "the change").GetChange(); change.GetBase() != one.Version() || change.GetVersion() != two.Version() {
		t.Errorf("it is sent the change %v", change)
	}
}

func TestAProxyThatLacksTheBaseIsSentTheWholeBundle(t *testing.T) {
	one, two := shelfFor("one"), shelfFor("two")
	proxy := &rawAgent{changes: true, answer: func(request *interlockv1.ApplyBundleRequest) *interlockv1.ApplyBundleResponse {
		return &interlockv1.ApplyBundleResponse{BaseUnknown: request.GetChange() != nil}
	}}
	d, deliver := delivering(t, proxy, one.Version(), "one")
	deliver(one)
	awaitStatus(t, d, "it is connected", serving(one.Version()))
	deliver(two)
	if got := receive(t, proxy.applies, "the change"); got.GetChange() == nil {
		t.Errorf("it is sent %v", got)
	}
	if got := receive(t, proxy.applies, "the whole bundle"); got.GetBundle().GetVersion() != two.Version() || got.GetTableVersion() != "two" {
		t.Errorf("it is sent %v", got)
	}
}

func TestAnAgentThatTakesNoChangesIsSentWholeBundlesAndUnderstood(t *testing.T) {
	one, two := shelfFor("one"), shelfFor("two")
	proxy := &rawAgent{}
	d, deliver := delivering(t, proxy, one.FormerVersion(), "one")
	deliver(nil)
	awaitStatus(t, d, "it is connected", serving(one.FormerVersion()))
	deliver(one)
	awaitStatus(t, d, "what it serves has a version that is known", serving(one.Version()))
	deliver(two)
	if got := receive(t, proxy.applies, "the bundle"); got.GetBundle() == nil || got.GetBundle().GetVersion() != "" || got.GetTableVersion() != "two" {
		t.Errorf("it is sent %v", got)
	}
	proxy.says(two.FormerVersion(), "two")
	awaitStatus(t, d, "what it serves has a version that is known", serving(two.Version()))
	if n := len(proxy.applies); n > 0 {
		t.Errorf("it was sent %d bundles too many", n)
	}
}

func TestAProxyHasTheBundleThatWasDeliveredHoweverItTravelled(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	identity := authority.identity(eastProx)
	address, stop := serveAgent(t, fake, identity, "127.0.0.1:0", silent())
	proxies := []delivery.Proxy{at("a", address)}
	d, end := startDeliverer(t, authority, authority.identity(theCore))
	deliver := func(d *delivery.Deliverer, word string) string {
		b := shelfFor(word)
		d.Deliver("us-east", proxies, b)
		awaitStatus(t, d, "the proxy serves "+word, serving(b.Version()))
		return b.Version()
	}
	var want []string
	for i := range 20 {
		want = append(want, deliver(d, fmt.Sprint(i)))
	}
	end() // the core is started anew, and later the agent
	d, _ = startDeliverer(t, authority, authority.identity(theCore))
	deliver(d, "19")
	want = append(want, deliver(d, "20"))
	if got := fake.versions(); !slices.Equal(got, want) {
		t.Errorf("the proxy was sent %v, want %v", got, want)
	}
	stop()
	restarted := newFakeAgent()
	serveAgent(t, restarted, identity, address.String(), silent())
	want = []string{deliver(d, "21"), deliver(d, "22")}
	if got := restarted.versions(); !slices.Equal(got[len(got)-2:], want) {
		t.Errorf("the proxy was sent %v, want %v", got, want)
	}
}

func TestACoreWithFormerVersionsIsToldInThese(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	client := interlockv1.NewAgentServiceClient(dialRaw(t, address.String(), authority.identity(theCore), eastProx))
	apply := func(message *interlockv1.Bundle) {
		t.Helper()
		if _, err := client.ApplyBundle(t.Context(), &interlockv1.ApplyBundleRequest{Bundle: message, TableVersion: "table"}); err != nil {
			t.Fatal(err)
		}
	}
	told := func() string {
		t.Helper()
		stream, err := client.WatchStatus(t.Context(), &interlockv1.WatchStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		message, err := stream.Recv()
		if err != nil || !message.GetChanges() {
			t.Fatalf("the status is %v, %v", message, err)
		}
		return message.GetBundleVersion()
	}
	b := shelfOf("one")
	message := wire.BundleMessage(&b)
	message.Version = b.FormerVersion()
	apply(message)
	if got := told(); got != b.FormerVersion() {
		t.Errorf("it is told %s", got)
	}
	apply(wire.BundleMessage(&b))
	if got := told(); got != b.Version() {
		t.Errorf("the core that follows it is told %s", got)
	}
}

func TestAnAgentTakesNoChangeOfWhatItsProxyDoesNotServe(t *testing.T) {
	authority, fake := newAuthority(t), newFakeAgent()
	one, two := shelfOf("one"), shelfOf("two")
	if err := fake.Apply(t.Context(), one, "table"); err != nil {
		t.Fatal(err)
	}
	address, _ := serveAgent(t, fake, authority.identity(eastProx), "127.0.0.1:0", silent())
	client := interlockv1.NewAgentServiceClient(dialRaw(t, address.String(), authority.identity(theCore), eastProx))
	good := wire.BundleChangeMessage(&one, one.Version(), &two, two.Version())
	stray := wire.BundleChangeMessage(&one, "of another", &two, two.Version())
	for name, test := range map[string]struct {
		change  *interlockv1.BundleChange
		unknown bool
	}{"another base": {stray, true}, "the base": {good, false}} {
		checked, err := client.CheckBundle(t.Context(), &interlockv1.CheckBundleRequest{Change: test.change})
		if err != nil || checked.GetBaseUnknown() != test.unknown || checked.GetRefusal() != "" {
			t.Errorf("%s: checked: %v, %v", name, checked, err)
		}
	}
	applied, err := client.ApplyBundle(t.Context(), &interlockv1.ApplyBundleRequest{Change: stray})
	if err != nil || !applied.GetBaseUnknown() || len(fake.versions()) != 1 {
		t.Errorf("applied: %v, %v", applied, err)
	}
	applied, err = client.ApplyBundle(t.Context(), &interlockv1.ApplyBundleRequest{Change: good})
	if err != nil || applied.GetBaseUnknown() || !slices.Equal(fake.versions(), []string{one.Version(), two.Version()}) {
		t.Errorf("applied: %v, %v", applied, err)
	}
}
