package nginx_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// secure is a rig that has certificates at hand.
type secure struct {
	*rig
	authority *fixture.Authority
}

func newSecure(t *testing.T) secure {
	r := newRig(t)
	r.credentials = make(render.Credentials)
	return secure{r, fixture.NewAuthority(t)}
}

// certify puts a new certificate for names at hand for a host, and returns what
// the table has of it.
func (s secure) certify(host string, names ...string) *route.Credential {
	s.t.Helper()
	chain, key := s.authority.Issue(s.t, names)
	s.credentials[host] = render.Pair{Chain: chain, Key: key}
	return &route.Credential{Chain: route.Material{Name: host, ID: "id"}, Key: route.Material{Name: host, ID: "id"}, Asker: host}
}

// client asks for a name, over connections of its own.
func (s secure) client(name string, change ...func(*tls.Config)) *http.Client {
	config := &tls.Config{RootCAs: s.authority.Pool(), ServerName: name, NextProtos: []string{"http/1.1"}}
	for _, f := range change {
		f(config)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: len(config.NextProtos) == 0}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask sends a request for a host on a client's connections.
func (s secure) ask(c *http.Client, host, path string) (*http.Response, string, error) {
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", s.sslPort, path), nil)
	if err != nil {
		return nil, "", err
	}
	request.Host = host
	response, err := c.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

func (s secure) gets(name, path string) (*http.Response, string) {
	s.t.Helper()
	response, body, err := s.ask(s.client(name), name, path)
	if err != nil {
		s.t.Fatalf("https://%s%s: %v", name, path, err)
	}
	return response, body
}

func root(upstream string) []route.Route {
	return []route.Route{{PathPrefix: "/", Forward: to(upstream)}}
}

func TestTheNameThatAClientAsksForPicksTheCertificate(t *testing.T) {
	s := newSecure(t)
	s.serve(&route.Table{Hosts: []route.VirtualHost{
		{Name: "*.shop.test", Credential: s.certify("*.shop.test", "*.shop.test"), Routes: root("wild")},
		{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")},
		{Name: "b.test", Credential: s.certify("b.test", "b.test"), Routes: root("b")},
		{Name: "plain.shop.test", Routes: root("a")},
	}, Upstreams: []route.Upstream{upstream("a", app(t, "a")), upstream("b", app(t, "b")), upstream("wild", app(t, "wild"))}}, nil)
	for name, want := range map[string]string{"a.test": "a", "b.test": "b", "x.shop.test": "wild", "A.test": "a"} {
		if _, body := s.gets(name, "/"); !strings.HasPrefix(body, want) {
			t.Errorf("%s was answered by %q", name, body)
		}
	}
	for _, name := range []string{"unknown.test", "plain.shop.test", ""} {
		config := &tls.Config{RootCAs: s.authority.Pool(), ServerName: name, InsecureSkipVerify: name == ""}
		connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.sslPort), config)
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%q: want the alert unrecognized_name, got %v", name, err)
		}
		if err == nil {
			connection.Close()
		}
	}
}

func TestAConnectionForOneCertificateServesNoHostOfAnother(t *testing.T) {
	s := newSecure(t)
	both := s.certify("a.test", "a.test", "same.test")
	s.credentials["same.test"] = s.credentials["a.test"]
	s.serve(&route.Table{Hosts: []route.VirtualHost{
		{Name: "a.test", Credential: both, Routes: root("a")},
		{Name: "b.test", Credential: s.certify("b.test", "b.test"), Routes: root("b")},
		{Name: "plain.test", Routes: root("b")},
		{Name: "same.test", Credential: both, Routes: root("a")},
	}, Upstreams: []route.Upstream{upstream("a", app(t, "a")), upstream("b", app(t, "b"))}}, nil)
	client := s.client("a.test")
	for host, want := range map[string]int{"a.test": 200, "a.test:8443": 200, "A.TEST": 200, "same.test": 200, "b.test": 421, "b.test:443": 421, "plain.test": 421, "unknown.test": 421} {
		response, body, err := s.ask(client, host, "/")
		if err != nil || response.StatusCode != want {
			t.Errorf("%s: got %v, %v, want %d: %q", host, response, err, want, body)
		}
	}
}

func TestHTTP2IsSpokenWithWhoeverWantsIt(t *testing.T) {
	s := newSecure(t)
	s.serve(&route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")}},
		Upstreams: []route.Upstream{upstream("a", app(t, "a"))},
	}, nil)
	for major, c := range map[int]*http.Client{1: s.client("a.test"), 2: s.client("a.test", func(c *tls.Config) { c.NextProtos = nil })} {
		response, _, err := s.ask(c, "a.test", "/")
		if err != nil || response.ProtoMajor != major {
			t.Errorf("got %v, %v, want HTTP/%d", response, err, major)
		}
	}
}

func TestAnAppLearnsThatItsClientSpeaksTLSAndEveryAnswerSaysTheSame(t *testing.T) {
	s := newSecure(t)
	s.serve(&route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")}},
		Upstreams: []route.Upstream{upstream("a", showsHeaders(t))},
	}, nil)
	response, body := s.gets("a.test", "/")
	for _, want := range []string{`"X-Forwarded-Proto":["https"]`, `"X-Real-Ip":["127.0.0.1"]`, `"X-Forwarded-For":["127.0.0.1"]`} {
		if !strings.Contains(body, want) {
			t.Errorf("the app does not see %s: %s", want, body)
		}
	}
	for _, name := range []string{"x-request-id", "x-proxy-id", "x-server-info", "x-upstream-addr", "x-upstream-response-time"} {
		if response.Header.Get(name) == "" {
			t.Errorf("the answer has no %s", name)
		}
	}
}

func TestPlainRequestsAreSentToWhereTLSIs(t *testing.T) {
	s := newSecure(t)
	s.serve(&route.Table{Hosts: []route.VirtualHost{
		{Name: "bare.test", Routes: []route.Route{{PathPrefix: "/", TLSOnly: true, Forward: to("a")}}},
		{Name: "only.test", Credential: s.certify("only.test", "only.test"), Routes: []route.Route{
			{PathPrefix: "/open", Forward: to("a")}, {PathPrefix: "/", TLSOnly: true, Forward: to("a")},
		}},
	}, Upstreams: []route.Upstream{upstream("a", app(t, "a"))}}, nil)
	for _, c := range []struct {
		host, path string
		status     int
		location   string
	}{
		{"only.test", "/x/y?z=%20", 302, fmt.Sprintf("https://only.test:%d/x/y?z=%%20", s.sslPort)},
		{"only.test:80", "/", 302, fmt.Sprintf("https://only.test:%d/", s.sslPort)},
		{"only.test", "/open/x", 200, ""},
		{"bare.test", "/", 503, ""},
	} {
		got, err := s.send(c.host, c.path, nil)
		if err != nil || got.status != c.status || got.header.Get("Location") != c.location {
			t.Errorf("http://%s%s: got %d, %q, %v", c.host, c.path, got.status, got.header.Get("Location"), err)
		}
	}
	if response, _ := s.gets("only.test", "/x"); response.StatusCode != http.StatusOK {
		t.Errorf("over TLS: %s", response.Status)
	}
}

func TestARequestOverTLSIsRedirectedWhereTheTableSaysSo(t *testing.T) {
	s := newSecure(t)
	s.serve(&route.Table{Hosts: []route.VirtualHost{
		{Name: "old.test", Credential: s.certify("old.test", "old.test"), Redirects: []route.Redirect{{Scheme: "https", Target: "https://new.test"}}},
	}}, nil)
	response, _ := s.gets("old.test", "/a?b=c")
	if response.StatusCode != http.StatusFound || response.Header.Get("Location") != "https://new.test/a?b=c" {
		t.Errorf("got %s to %q", response.Status, response.Header.Get("Location"))
	}
	if got, err := s.send("old.test", "/", nil); err != nil || got.status != 503 {
		t.Errorf("a plain request: %d, %v", got.status, err)
	}
}

// tlsApp answers over TLS with a certificate of its own.
func (s secure) tlsApp(name string) *httptest.Server {
	s.t.Helper()
	chain, key := s.authority.Issue(s.t, []string{name})
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		s.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the task itself") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return server
}

func TestOnOnePortTLSEndsAtTheProxyOrGoesThroughToTheTask(t *testing.T) {
	s := newSecure(t)
	s.serve(&route.Table{
		Hosts: []route.VirtualHost{
			{Name: "a.wild.test", Credential: s.certify("a.wild.test", "a.wild.test"), Routes: root("a")},
			{Name: "b.wild.test", Routes: root("a")},
		},
		Passthrough: []route.Passthrough{
			{Name: "*.wild.test", Forward: to("wild")},
			{Name: "default", Forward: to("default")},
			{Name: "nobody.test", Forward: to("nobody")},
			{Name: "through.test", Forward: to("through"), RedirectPlain: true},
		},
		Upstreams: []route.Upstream{
			upstream("a", showsHeaders(t)), upstream("default", s.tlsApp("default")), upstream("nobody"),
			upstream("through", s.tlsApp("through.test")), upstream("wild", s.tlsApp("x.wild.test")),
		},
	}, nil)
	for _, name := range []string{"through.test", "x.wild.test", "default"} {
		if response, body := s.gets(name, "/"); body != "the task itself" || response.Header.Get("x-proxy-id") != "" {
			t.Errorf("%s was answered with %q, %v", name, body, response.Header)
		}
	}
	// Where TLS ends here, the app is told the client's own address.
	client := s.client("a.wild.test")
	client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.7")}}).DialContext
	_, body, err := s.ask(client, "a.wild.test", "/")
	for _, want := range []string{`"X-Real-Ip":["127.0.0.7"]`, `"X-Forwarded-For":["127.0.0.7"]`, `"X-Forwarded-Proto":["https"]`} {
		if err != nil || !strings.Contains(body, want) {
			t.Errorf("the app does not see %s: %q, %v", want, body, err)
		}
	}
	for _, name := range []string{"b.wild.test", "nobody.test", "unknown.test"} {
		if _, _, err := s.ask(s.client(name), name, "/"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := s.send("through.test", "/x", nil); err != nil || got.status != 302 || got.header.Get("Location") != fmt.Sprintf("https://through.test:%d/x", s.sslPort) {
		t.Errorf("a plain request: %d, %v, %v", got.status, got.header, err)
	}
}

func TestPassthroughComesAndGoesOnAPortInUse(t *testing.T) {
	s := newSecure(t)
	table := &route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")}},
		Upstreams: []route.Upstream{upstream("a", app(t, "a")), upstream("through", s.tlsApp("through.test"))},
	}
	for _, through := range [][]route.Passthrough{nil, {{Name: "through.test", Forward: to("through")}}, nil, {{Name: "through.test", Forward: to("through")}}} {
		table.Passthrough = through
		s.serve(table, nil)
		s.gets("a.test", "/")
		_, _, err := s.ask(s.client("through.test"), "through.test", "/")
		if (err == nil) != (through != nil) {
			t.Errorf("with %d hosts to pass through: %v", len(through), err)
		}
	}
}

func TestARenewedCertificateTakesEffectAndCutsNoConnection(t *testing.T) {
	s := newSecure(t)
	slow, arrived, release := slowApp(t)
	table := &route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("slow")}},
		Upstreams: []route.Upstream{upstream("slow", slow)},
	}
	s.serve(table, nil)
	before, master := s.shown("a.test"), s.master()

	connection := s.dial("a.test")
	defer connection.Close()
	fmt.Fprint(connection, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	<-arrived
	s.certify("a.test", "a.test")
	s.serve(table, nil)
	if after := s.shown("a.test"); after.SerialNumber.Cmp(before.SerialNumber) == 0 {
		t.Error("new connections are shown the old certificate")
	}
	if s.master() != master {
		t.Error("nginx was restarted")
	}
	release()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatalf("the request that was running: %v", err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the request that was running: %s, %v", response.Status, err)
	}
}

func (s secure) dial(name string) *tls.Conn {
	s.t.Helper()
	connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.sslPort), &tls.Config{RootCAs: s.authority.Pool(), ServerName: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return connection
}

// shown is the certificate that a new connection is shown.
func (s secure) shown(name string) *x509.Certificate {
	s.t.Helper()
	connection := s.dial(name)
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0]
}

func TestTheOperatorDecidesOnProtocolsAndCiphers(t *testing.T) {
	s := newSecure(t)
	table := &route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")}},
		Upstreams: []route.Upstream{upstream("a", app(t, "a"))},
	}
	upTo := func(version uint16, suites ...uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS10, version, suites }
	}
	const aes128, aes256 = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	for _, c := range []struct {
		what   string
		config map[string]any
		client func(*tls.Config)
		taken  bool
	}{
		{"TLS 1.1", nil, upTo(tls.VersionTLS11), false},
		{"TLS 1.2", nil, upTo(tls.VersionTLS12, aes128), true},
		{"TLS 1.3", nil, upTo(tls.VersionTLS13), true},
		{"TLS 1.2 where only 1.3 is wanted", map[string]any{"SSLProtocols": "TLSv1.3"}, upTo(tls.VersionTLS12), false},
		{"a cipher that is not wanted", map[string]any{"SSLCiphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}, upTo(tls.VersionTLS12, aes128), false},
		{"the cipher that is", map[string]any{"SSLCiphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}, upTo(tls.VersionTLS12, aes256), true},
		{"a raw option", map[string]any{"SSLOpts": "ssl_ecdh_curve secp384r1;"}, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }, false},
	} {
		s.serve(table, c.config)
		_, _, err := s.ask(s.client("a.test", c.client), "a.test", "/")
		if (err == nil) != c.taken {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
