package proxy_test

import (
	"testing"

	"github.com/interlock-lb/interlock/internal/behaviour"
	"github.com/interlock-lb/interlock/internal/route"
)

// underTest is the server as the suite of all proxies sees it.
type underTest struct{ *rig }

func (u underTest) Serve(t *testing.T, table *route.Table) {
	t.Helper()
	u.t = t
	u.serve(table)
}

func (u underTest) Address() string { return u.addr }

func TestItBehavesAsAllProxiesDo(t *testing.T) {
	behaviour.Run(t, behaviour.Native, func(t *testing.T) behaviour.Proxy { return underTest{newRig(t)} })
}
