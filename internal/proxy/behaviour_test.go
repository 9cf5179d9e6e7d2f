package proxy_test

import (
	"testing"

	"github.com/interlock-lb/interlock/internal/behaviour"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// underTest is the server as the suite of all proxies sees it.
type underTest struct{ *rig }

func (u underTest) Serve(t *testing.T, table *route.Table, c render.Credentials) {
	t.Helper()
	if err := u.server.Swap(table, c); err != nil {
		t.Fatal(err)
	}
}

func (u underTest) Address() string { return u.addr }

func (u underTest) SecureAddress() string { return u.secureAddr }

func TestItBehavesAsAllProxiesDo(t *testing.T) {
	behaviour.Run(t, behaviour.Native, func(t *testing.T) behaviour.Proxy { return underTest{newRig(t)} })
}
