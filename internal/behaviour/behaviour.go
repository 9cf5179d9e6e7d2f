// Package behaviour says what every proxy promises that Interlock runs, whatever
// program it is: a table in, requests, answers. Where two kinds answer the same
// request differently, the case says what each answers and which is right.
//
// It starts no proxy; the tests of each kind do, and call Run.
package behaviour

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// patience bounds every wait; it is never waited for in vain.
const patience = 30 * time.Second

// Proxy is a proxy under test.
type Proxy interface {
	// Serve returns when all requests are answered by the table, with the
	// certificates at hand.
	Serve(t *testing.T, table *route.Table, c render.Credentials)
	// Address is where it takes plain HTTP, SecureAddress where TLS: host and
	// port. Clients are redirected to that port too.
	Address() string
	SecureAddress() string
}

// Kind is what is known to differ between proxies.
type Kind int

// The kinds of proxies.
const (
	Nginx Kind = iota
	Native
)

// Run has a proxy of a kind do everything that the suite promises. Start begins
// a proxy without a table, which ends with the test.
func Run(t *testing.T, kind Kind, start func(t *testing.T) Proxy) {
	for name, promise := range map[string]func(*suite){
		"a host is split by path and the longest root wins":       longestRoot,
		"the longest path takes its own requests only":            longestPath,
		"a request without a host reaches the default service":    noHost,
		"a rewritten root is not seen by the app":                 rewrittenRoot,
		"a redirect keeps path and query":                         redirects,
		"a wildcard serves what has no host of its own":           wildcards,
		"who nobody serves is told so":                            nobody,
		"the same cookie goes to the same task":                   cookies,
		"whose task is drained moves to another, and nobody else": drainedCookies,
		"the same client address goes to the same task":           addresses,
		"a canary gets its share by number of tasks":              canary,
		"a weight is a share, however many tasks there are":       weights,
		"who has no weight gets no request":                       noWeight,
		"a busy task gets less than an idle one":                  leastBusy,
		"apps are told who asks, and clients who answered":        headers,
		"content of any length goes both ways":                    contents,
		"a task that refuses connections costs nobody a request":  refusingTask,
		"websockets are opened on the named paths only":           websockets,
		"a rewritten root may be a websocket endpoint too":        websocketRoot,
		"a websocket stays open through a change of endpoints":    websocketStays,
		"TLS to tasks is spoken where the service asks for it":    tlsTasks,
		"requests that could be read in two ways reach nobody":    smuggling,
		"hop-by-hop fields stay where they are":                   hopByHop,
		"an app that answers early or late is heard all the same": earlyAnswers,
		"pipelined requests are answered in order":                pipelining,

		"the name that a client asks for picks the certificate":         certificatesByName,
		"a connection for one certificate serves no host of another":    misdirected,
		"HTTP/2 is spoken with whoever wants it":                        overHTTP2,
		"an app learns that its client speaks TLS":                      headersOverTLS,
		"plain requests are sent to where TLS is":                       plainToTLS,
		"a request over TLS is redirected where the table says so":      secureRedirects,
		"on one port TLS ends at the proxy or goes through to the task": passthrough,
		"passthrough comes and goes on a port in use":                   passthroughComesAndGoes,
		"gRPC goes through in all four ways":                            grpcWays,
		"gRPC's metadata and statuses arrive as they were sent":         grpcStatuses,
		"gRPC's messages may be large":                                  grpcLarge,
		"a gRPC call may go on for ever":                                grpcGoesOn,
		"content that is too long reaches nobody":                       tooLong,
		"a gRPC call's end is known on the other side":                  grpcEnds,
		"a gRPC client learns that nobody serves it":                    grpcNobody,
		"who speaks HTTP/1.1 reaches tasks that speak HTTP/2":           http2Tasks,
		"a task that speaks HTTP/2 sees what any other task sees":       http2Fields,

		"a renewed certificate takes effect and cuts no connection": renewal,
	} {
		t.Run(name, func(t *testing.T) { promise(&suite{T: t, kind: kind, proxy: start(t)}) })
	}
}

// suite is one promise being checked.
type suite struct {
	*testing.T
	kind  Kind
	proxy Proxy
}

// by is what a kind does where not all do the same.
type by map[Kind]string

func upstream(name string, apps ...*httptest.Server) route.Upstream {
	u := route.Upstream{Name: name}
	for _, app := range apps {
		u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(app.Listener.Addr().String())})
	}
	sortEndpoints(&u)
	return u
}

// sortEndpoints puts them into the order that tables have.
func sortEndpoints(u *route.Upstream) {
	slices.SortFunc(u.Endpoints, func(x, y route.Endpoint) int { return x.Addr.Compare(y.Addr) })
}

func to(upstreams ...string) route.Forward { return route.Forward{Upstreams: upstreams} }

// demo is a table of demo.local alone.
func demo(routes []route.Route, upstreams ...route.Upstream) *route.Table {
	return &route.Table{Hosts: []route.VirtualHost{{Name: "demo.local", Routes: routes}}, Upstreams: upstreams}
}

func (s *suite) serve(table *route.Table) {
	s.Helper()
	s.proxy.Serve(s.T, table, nil)
}

// app serves what a handler does.
func (s *suite) app(handler http.HandlerFunc) *httptest.Server {
	s.Helper()
	server := httptest.NewServer(handler)
	s.Cleanup(server.Close)
	return server
}

// sees answers its name and the request line's target, byte for byte.
func (s *suite) sees(name string) *httptest.Server {
	s.Helper()
	return s.app(func(w http.ResponseWriter, q *http.Request) { fmt.Fprintf(w, "%s %s", name, q.RequestURI) })
}

type answer struct {
	status int
	body   string
	header http.Header
}

// send sends a request as it is written, over a connection of its own, and
// follows no redirect. With it go header fields, and as "from" the client's address.
func (s *suite) send(host, path string, with map[string]string) answer {
	s.Helper()
	dialer := net.Dialer{}
	if from := with["from"]; from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.proxy.Address(), nil)
	if err != nil {
		s.Fatal(err)
	}
	// As it stands: net/url would write escapes its own way.
	path, query, _ := strings.Cut(path, "?")
	request.URL.Opaque, request.URL.RawQuery = path, query
	request.Host = host
	for name, value := range with {
		if name != "from" {
			request.Header.Set(name, value)
		}
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		s.Fatalf("%s: %v", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatalf("%s: %v", path, err)
	}
	return answer{response.StatusCode, string(body), response.Header}
}

// sendsTo checks who answers for a path of demo.local, and what he saw.
func (s *suite) sendsTo(path, want string) {
	s.Helper()
	got := s.send("demo.local", path, nil)
	if got.body != want {
		s.Errorf("%s: %d %q, want %q", path, got.status, got.body, want)
	}
	for _, name := range []string{"X-Request-Id", "X-Proxy-Id", "X-Server-Info"} {
		if len(got.header[name]) != 1 {
			s.Errorf("%s: the header %s is there %d times", path, name, len(got.header[name]))
		}
	}
}

// sendsToOr is for a path that kinds answer differently; a status says that
// nobody gets the request.
func (s *suite) sendsToOr(path string, want by) {
	s.Helper()
	if status := http.StatusBadRequest; want[s.kind] == "400" {
		if got := s.send("demo.local", path, nil); got.status != status {
			s.Errorf("%s: %d %q, want %d", path, got.status, got.body, status)
		}
		return
	}
	s.sendsTo(path, want[s.kind])
}

// says sends bytes over a new connection and returns all that comes back until
// it ends.
func (s *suite) says(bytes string) string {
	s.Helper()
	connection := s.dial()
	defer connection.Close()
	if _, err := io.WriteString(connection, bytes); err != nil {
		s.Fatal(err)
	}
	got, err := io.ReadAll(connection)
	if err != nil {
		s.Logf("%q, then: %v", got, err)
	}
	return string(got)
}

// dial opens a connection of bytes.
func (s *suite) dial() net.Conn {
	s.Helper()
	connection, err := net.Dial("tcp", s.proxy.Address())
	if err != nil {
		s.Fatal(err)
	}
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		s.Fatal(err)
	}
	return connection
}
