package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// Each case of h2spec, which knows RFC 7540 and RFC 7541, is a connection that
// does one thing as no client should, or may.
func TestHTTP2IsSpokenAsItsSpecificationsSay(t *testing.T) {
	// net/http leaves a connection that it has refused open for a second.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		for deadline := time.Now().Add(patience); goleak.Find(before) != nil && time.Now().Before(deadline); {
		}
	})
	const host = "localhost" // h2spec asks for the name that it connects to
	r, authority := newRig(t), fixture.NewAuthority(t)
	chain, key := authority.Issue(t, []string{host})
	secret := route.Material{Name: host, ID: "id"}
	backend := app(t, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		_, _ = io.WriteString(w, "a body of some length")
	})
	table := all(backend)
	table.Hosts = []route.VirtualHost{{Name: host, Credential: &route.Credential{Chain: secret, Key: secret, Asker: host}, Routes: table.Hosts[0].Routes}}
	if err := r.server.Swap(table, render.Credentials{host: {Chain: chain, Key: key}}); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(r.secureAddr)
	if err != nil {
		t.Fatal(err)
	}
	at, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Host: host, Port: at, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true, TLS: true, Insecure: true}
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(c)
		report(t, group)
	}
}

// otherwise are the cases that net/http decides otherwise, and why it may.
var otherwise = map[string]string{
	"Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE":                                          "it ends connections that repeat a setting, which would else cost work for nothing",
	"Sends a HEADERS frame that contains the connection-specific header field":                       "it answers 400, which RFC 9113, section 8.1.1, allows, and nobody else gets the request",
	"Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"": "as above",
	"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE":                      "it announces frames of a megabyte, which the case does not send",
}

func report(t *testing.T, group *spec.TestGroup) {
	t.Helper()
	for _, test := range append(group.Tests, group.StrictTests...) {
		why, known := otherwise[test.Desc]
		switch {
		case test.Result == nil || test.Result.Skipped:
			t.Errorf("%s %s: it was not tested", group.ID(), test.Desc)
		case test.Result.Failed && known:
			t.Logf("%s %s: %s", group.ID(), test.Desc, why)
		case test.Result.Failed:
			t.Errorf("%s %s: %s", group.ID(), test.Desc, test.Result.Error)
		case known:
			t.Errorf("%s %s: it is as specified now, and need not be named", group.ID(), test.Desc)
		}
	}
	for _, inner := range group.Groups {
		report(t, inner)
	}
}
