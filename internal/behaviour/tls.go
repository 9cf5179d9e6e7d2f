package behaviour

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// secure is a promise about TLS being checked.
type secure struct {
	*suite
	authority   *fixture.Authority
	credentials render.Credentials
}

func newSecure(s *suite) secure {
	return secure{s, fixture.NewAuthority(s), make(render.Credentials)}
}

// certify puts a new certificate for names at hand for a host, and returns what
// the table has of it.
func (s secure) certify(host string, names ...string) *route.Credential {
	s.Helper()
	chain, key := s.authority.Issue(s, names)
	s.credentials[host] = render.Pair{Chain: chain, Key: key}
	secret := route.Material{Name: strings.TrimPrefix(host, "*."), ID: "id"}
	return &route.Credential{Chain: secret, Key: secret, Asker: host}
}

// uses serves a table with what was certified up to now.
func (s secure) uses(table *route.Table) {
	s.Helper()
	credentials := make(render.Credentials, len(s.credentials))
	for host, pair := range s.credentials {
		credentials[host] = pair
	}
	s.proxy.Serve(s.T, table, credentials)
}

// client asks for a name, over connections of its own.
func (s secure) client(name string, protocols ...string) *http.Client {
	config := &tls.Config{RootCAs: s.authority.Pool(), ServerName: name, NextProtos: []string{"http/1.1"}}
	if len(protocols) > 0 {
		config.NextProtos = nil
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: len(protocols) > 0}
	s.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask sends a request for a host on a client's connections.
func (s secure) ask(c *http.Client, host, path string) (*http.Response, string, error) {
	return s.askWith(c, http.MethodGet, host, path, nil)
}

func (s secure) askWith(c *http.Client, method, host, path string, body io.Reader) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(s.Context(), method, "https://"+s.proxy.SecureAddress()+path, body)
	if err != nil {
		return nil, "", err
	}
	request.Host = host
	response, err := c.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	return response, string(got), err
}

func (s secure) gets(name, path string) (*http.Response, string) {
	s.Helper()
	response, body, err := s.ask(s.client(name), name, path)
	if err != nil {
		s.Fatalf("https://%s%s: %v", name, path, err)
	}
	return response, body
}

// where is how clients are told to come over TLS to a host.
func (s secure) where(host string) string {
	_, port, err := net.SplitHostPort(s.proxy.SecureAddress())
	if err != nil {
		s.Fatal(err)
	}
	return "https://" + host + ":" + port
}

func root(upstream string) []route.Route {
	return []route.Route{{PathPrefix: "/", Forward: to(upstream)}}
}

func certificatesByName(plain *suite) {
	s := newSecure(plain)
	s.uses(&route.Table{Hosts: []route.VirtualHost{
		{Name: "*.shop.test", Credential: s.certify("*.shop.test", "*.shop.test"), Routes: root("wild")},
		{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")},
		{Name: "b.test", Credential: s.certify("b.test", "b.test"), Routes: root("b")},
		{Name: "plain.shop.test", Routes: root("a")},
	}, Upstreams: []route.Upstream{upstream("a", s.sees("a")), upstream("b", s.sees("b")), upstream("wild", s.sees("wild"))}})
	for name, want := range map[string]string{"a.test": "a", "b.test": "b", "x.shop.test": "wild", "A.test": "a"} {
		if _, body := s.gets(name, "/"); !strings.HasPrefix(body, want) {
			s.Errorf("%s was answered by %q", name, body)
		}
	}
	for _, name := range []string{"unknown.test", "plain.shop.test", ""} {
		config := &tls.Config{RootCAs: s.authority.Pool(), ServerName: name, InsecureSkipVerify: name == ""}
		connection, err := tls.Dial("tcp", s.proxy.SecureAddress(), config)
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			s.Errorf("%q: want the alert unrecognized_name, got %v", name, err)
		}
		if err == nil {
			connection.Close()
		}
	}
}

func misdirected(plain *suite) {
	s := newSecure(plain)
	both := s.certify("a.test", "a.test", "same.test")
	s.credentials["same.test"] = s.credentials["a.test"]
	s.uses(&route.Table{Hosts: []route.VirtualHost{
		{Name: "a.test", Credential: both, Routes: root("a")},
		{Name: "b.test", Credential: s.certify("b.test", "b.test"), Routes: root("b")},
		{Name: "plain.test", Routes: root("b")},
		{Name: "same.test", Credential: both, Routes: root("a")},
	}, Upstreams: []route.Upstream{upstream("a", s.sees("a")), upstream("b", s.sees("b"))}})
	for _, client := range []*http.Client{s.client("a.test"), s.client("a.test", "h2")} {
		for host, want := range map[string]int{
			"a.test": 200, "a.test:8443": 200, "A.TEST": 200, "same.test": 200,
			"b.test": 421, "b.test:443": 421, "plain.test": 421, "unknown.test": 421,
		} {
			response, body, err := s.ask(client, host, "/")
			if err != nil || response.StatusCode != want {
				s.Errorf("%s: got %v, %v, want %d: %q", host, response, err, want, body)
			}
		}
	}
}

func overHTTP2(plain *suite) {
	s := newSecure(plain)
	echo := s.app(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("X-Method", q.Method)
		if _, err := io.Copy(w, q.Body); err != nil {
			s.Error(err)
		}
		w.Header().Set(http.TrailerPrefix+"X-Checked", "yes")
	})
	s.uses(&route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: []route.Route{{PathPrefix: "/echo", Forward: to("echo")}, {PathPrefix: "/", Forward: to("a")}}}},
		Upstreams: []route.Upstream{upstream("a", s.sees("a")), upstream("echo", echo)},
	})
	for major, c := range map[int]*http.Client{1: s.client("a.test"), 2: s.client("a.test", "h2")} {
		for range 3 {
			response, body, err := s.ask(c, "a.test", "/x?y")
			if err != nil || response.ProtoMajor != major || body != "a /x?y" {
				s.Errorf("got %v, %q, %v, want HTTP/%d", response, body, err, major)
			}
		}
		content := bytes.Repeat([]byte("content "), 40_000)
		for what, reader := range map[string]io.Reader{"counted": bytes.NewReader(content), "of unknown length": io.MultiReader(bytes.NewReader(content)), "none": nil} {
			response, body, err := s.askWith(c, http.MethodPost, "a.test", "/echo", reader)
			want := string(content)
			if reader == nil {
				want = ""
			}
			if err != nil || response.Header.Get("X-Method") != "POST" || body != want {
				s.Errorf("HTTP/%d, content %s: %d bytes, %v", major, what, len(body), err)
			}
			// To leave trailers out is allowed (RFC 9110, section 6.5.1), and breaks gRPC.
			if trailer := (by{Nginx: "", Native: "yes"}); err == nil && response.Trailer.Get("X-Checked") != trailer[s.kind] {
				s.Errorf("HTTP/%d, content %s: the trailers are %v", major, what, response.Trailer)
			}
		}
		if response, body, err := s.askWith(c, http.MethodHead, "a.test", "/", nil); err != nil || body != "" || response.ContentLength != int64(len("a /")) {
			s.Errorf("HTTP/%d, HEAD: %v, %q, %v", major, response, body, err)
		}
	}
}

func headersOverTLS(plain *suite) {
	s := newSecure(plain)
	s.uses(&route.Table{
		Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")}},
		Upstreams: []route.Upstream{upstream("a", s.showsHeaders())},
	})
	for _, client := range []*http.Client{s.client("a.test"), s.client("a.test", "h2")} {
		response, body, err := s.ask(client, "a.test", "/")
		if err != nil {
			s.Fatal(err)
		}
		for _, want := range []string{`"X-Forwarded-Proto":["https"]`, `"X-Real-Ip":["127.0.0.1"]`, `"X-Forwarded-For":["127.0.0.1"]`} {
			if !strings.Contains(body, want) {
				s.Errorf("the app does not see %s: %s", want, body)
			}
		}
		for _, name := range []string{"x-request-id", "x-proxy-id", "x-server-info", "x-upstream-addr", "x-upstream-response-time"} {
			if response.Header.Get(name) == "" {
				s.Errorf("the answer has no %s", name)
			}
		}
	}
}

func plainToTLS(plain *suite) {
	s := newSecure(plain)
	s.uses(&route.Table{Hosts: []route.VirtualHost{
		{Name: "bare.test", Routes: []route.Route{{PathPrefix: "/", TLSOnly: true, Forward: to("a")}}},
		{Name: "only.test", Credential: s.certify("only.test", "only.test"), Routes: []route.Route{
			{PathPrefix: "/open", Forward: to("a")}, {PathPrefix: "/", TLSOnly: true, Forward: to("a")},
		}},
	}, Upstreams: []route.Upstream{upstream("a", s.sees("a"))}})
	for _, c := range []struct {
		host, path string
		status     int
		location   string
	}{
		{"only.test", "/x/y?z=%20", 302, s.where("only.test") + "/x/y?z=%20"},
		{"only.test:80", "/", 302, s.where("only.test") + "/"},
		{"only.test", "/open/x", 200, ""},
		{"bare.test", "/", 503, ""},
	} {
		got := s.send(c.host, c.path, nil)
		if got.status != c.status || got.header.Get("Location") != c.location {
			s.Errorf("http://%s%s: got %d, %q", c.host, c.path, got.status, got.header.Get("Location"))
		}
	}
	if response, _ := s.gets("only.test", "/x"); response.StatusCode != http.StatusOK {
		s.Errorf("over TLS: %s", response.Status)
	}
}

func secureRedirects(plain *suite) {
	s := newSecure(plain)
	s.uses(&route.Table{Hosts: []route.VirtualHost{
		{Name: "old.test", Credential: s.certify("old.test", "old.test"), Redirects: []route.Redirect{{Scheme: "https", Target: "https://new.test"}}},
	}})
	response, _ := s.gets("old.test", "/a?b=c")
	if response.StatusCode != http.StatusFound || response.Header.Get("Location") != "https://new.test/a?b=c" {
		s.Errorf("got %s to %q", response.Status, response.Header.Get("Location"))
	}
	if got := s.send("old.test", "/", nil); got.status != 503 {
		s.Errorf("a plain request: %d", got.status)
	}
}

// tlsApp answers over TLS with a certificate of its own.
func (s secure) tlsApp(name string) *httptest.Server {
	s.Helper()
	chain, key := s.authority.Issue(s, []string{name})
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		s.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the task itself") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	s.Cleanup(server.Close)
	return server
}

func passthrough(plain *suite) {
	s := newSecure(plain)
	s.uses(&route.Table{
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
			upstream("a", s.showsHeaders()), upstream("default", s.tlsApp("default")), upstream("nobody"),
			upstream("through", s.tlsApp("through.test")), upstream("wild", s.tlsApp("x.wild.test")),
		},
	})
	for _, name := range []string{"through.test", "x.wild.test", "default"} {
		if response, body := s.gets(name, "/"); body != "the task itself" || response.Header.Get("x-proxy-id") != "" {
			s.Errorf("%s was answered with %q, %v", name, body, response.Header)
		}
	}
	// Where TLS ends here, the app is told the client's own address.
	client := s.client("a.wild.test")
	client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.7")}}).DialContext
	_, body, err := s.ask(client, "a.wild.test", "/")
	for _, want := range []string{`"X-Real-Ip":["127.0.0.7"]`, `"X-Forwarded-For":["127.0.0.7"]`, `"X-Forwarded-Proto":["https"]`} {
		if err != nil || !strings.Contains(body, want) {
			s.Errorf("the app does not see %s: %q, %v", want, body, err)
		}
	}
	for _, name := range []string{"b.wild.test", "nobody.test", "unknown.test"} {
		if _, _, err := s.ask(s.client(name), name, "/"); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			s.Errorf("%s: %v", name, err)
		}
	}
	if got := s.send("through.test", "/x", nil); got.status != 302 || got.header.Get("Location") != s.where("through.test")+"/x" {
		s.Errorf("a plain request: %d, %v", got.status, got.header)
	}
}

func passthroughComesAndGoes(plain *suite) {
	s := newSecure(plain)
	hosts := []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("a")}}
	upstreams := []route.Upstream{upstream("a", s.sees("a")), upstream("through", s.tlsApp("through.test"))}
	for _, through := range [][]route.Passthrough{nil, {{Name: "through.test", Forward: to("through")}}, nil, {{Name: "through.test", Forward: to("through")}}} {
		s.uses(&route.Table{Hosts: hosts, Passthrough: through, Upstreams: upstreams})
		s.gets("a.test", "/")
		_, _, err := s.ask(s.client("through.test"), "through.test", "/")
		if (err == nil) != (through != nil) {
			s.Errorf("with %d hosts to pass through: %v", len(through), err)
		}
	}
}

func renewal(plain *suite) {
	s := newSecure(plain)
	arrived, free := make(chan struct{}, 1), make(chan struct{})
	slow := s.app(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-free
		fmt.Fprint(w, "slow")
	})
	table := func() *route.Table {
		return &route.Table{
			Hosts:     []route.VirtualHost{{Name: "a.test", Credential: s.certify("a.test", "a.test"), Routes: root("slow")}},
			Upstreams: []route.Upstream{upstream("slow", slow)},
		}
	}
	s.uses(table())
	before := s.shown("a.test")
	type outcome struct {
		body string
		err  error
	}
	running := make(chan outcome, 1)
	go func() {
		_, body, err := s.ask(s.client("a.test"), "a.test", "/")
		running <- outcome{body, err}
	}()
	<-arrived
	s.uses(table())
	if s.shown("a.test") == before {
		s.Error("new connections are shown the old certificate")
	}
	close(free)
	if got := <-running; got.err != nil || got.body != "slow" {
		s.Errorf("the request that was running: %+v", got)
	}
}

// shown is the number of the certificate that a new connection is shown.
func (s secure) shown(name string) string {
	s.Helper()
	connection, err := tls.Dial("tcp", s.proxy.SecureAddress(), &tls.Config{RootCAs: s.authority.Pool(), ServerName: name})
	if err != nil {
		s.Fatal(err)
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
