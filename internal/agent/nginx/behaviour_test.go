package nginx_test

import (
	"fmt"
	"testing"

	"github.com/interlock-lb/interlock/internal/behaviour"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// underTest is a rig as the suite of all proxies sees it.
type underTest struct{ *rig }

func (u underTest) Serve(t *testing.T, table *route.Table, c render.Credentials) {
	t.Helper()
	u.credentials = c
	u.t = t
	u.serve(table, nil)
}

func (u underTest) Address() string { return fmt.Sprintf("127.0.0.1:%d", u.port) }

func (u underTest) SecureAddress() string { return fmt.Sprintf("127.0.0.1:%d", u.sslPort) }

func TestItBehavesAsAllProxiesDo(t *testing.T) {
	behaviour.Run(t, behaviour.Nginx, func(t *testing.T) behaviour.Proxy { return underTest{newRig(t)} })
}

func TestInPartsItBehavesAsAllProxiesDo(t *testing.T) {
	behaviour.Run(t, behaviour.Nginx, func(t *testing.T) behaviour.Proxy {
		r := newRig(t)
		r.split = inParts
		return underTest{r}
	})
}
