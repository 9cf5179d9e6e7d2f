package nginx_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
