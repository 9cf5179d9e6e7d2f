package native_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

func TestTasksAreVerifiedByTheOperatorsAuthorities(t *testing.T) {
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "over TLS") }))
	t.Cleanup(app.Close)
	authorities := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw}))
	// Go's test certificate is for example.com.
	table := demo(t, "plain")
	table.Hosts[0].Name = "example.com"
	table.Hosts = append(table.Hosts, route.VirtualHost{Name: "other.local", Routes: table.Hosts[0].Routes})
	table.Upstreams[0].TLS = &route.TLS{Verify: route.VerifyRequired}
	table.Upstreams[0].Endpoints[0].Addr = netip.MustParseAddrPort(app.Listener.Addr().String())
	r := newRig(t)
	for _, test := range []struct {
		config       map[string]any
		named, other int
	}{
		{nil, 502, 502},
		{map[string]any{"SSLBackendAuthorities": authorities}, 200, 502},
	} {
		if err := r.apply(r.render(table, nil, test.config)); err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]int{"example.com": test.named, "other.local": test.other} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s:%d/", r.host, r.port), nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = host
			answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != want || want == 200 && !strings.Contains(string(body), "over TLS") {
				t.Errorf("%s: %d %q, %v; want %d", host, answer.StatusCode, body, err, want)
			}
		}
	}
}
