package behaviour

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// all is a table that sends everything to some apps.
func all(apps ...*httptest.Server) *route.Table {
	return demo([]route.Route{{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")}}, upstream("app", apps...))
}

// showsHeaders answers the fields that it was sent, Host among them.
func (s *suite) showsHeaders() *httptest.Server {
	return s.app(func(w http.ResponseWriter, q *http.Request) {
		q.Header.Set("Host", q.Host)
		w.Header().Set("X-Request-Id", "the app's own")
		w.Header().Set("X-Upstream-Addr", "the app's own")
		if err := json.NewEncoder(w).Encode(q.Header); err != nil {
			s.Error(err)
		}
	})
}

// headersOf returns the fields that the app sees, and those of its answer.
func (s *suite) headersOf(with map[string]string) (sent, answered http.Header) {
	s.Helper()
	got := s.send("demo.local", "/", with)
	if err := json.Unmarshal([]byte(got.body), &sent); err != nil {
		s.Fatalf("%+v: %v", got, err)
	}
	return sent, got.header
}

func headers(s *suite) {
	app := s.showsHeaders()
	s.serve(all(app))
	sent, answered := s.headersOf(map[string]string{
		"X-Real-Ip": "a lie", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "a lie", "X-Request-Id": "a lie", "With_underscore": "x", "X-Own": "kept",
	})
	// Whoever asks may write what he likes into X-Forwarded-For. nginx appends to
	// it as it always has; to replace it is right, as the first of several
	// addresses is what many apps take for the client's.
	forwarded := by{Nginx: "192.0.2.1, 127.0.0.1", Native: "127.0.0.1"}[s.kind]
	for name, want := range map[string]string{
		"Host": "demo.local", "X-Real-Ip": "127.0.0.1", "X-Forwarded-For": forwarded, "X-Forwarded-Proto": "http", "X-Own": "kept", "With_underscore": "",
	} {
		if got := strings.Join(sent.Values(name), ", "); got != want {
			s.Errorf("the app sees %s: %q, want %q", name, got, want)
		}
	}
	id := sent.Get("X-Request-Id")
	if len(id) != 32 || !slices.Equal(answered["X-Request-Id"], []string{id}) {
		s.Errorf("the app knows the request as %q, the client as %q", id, answered["X-Request-Id"])
	}
	if got := answered["X-Upstream-Addr"]; !slices.Equal(got, []string{app.Listener.Addr().String()}) {
		s.Errorf("x-upstream-addr: %q", got)
	}
	if got := answered["X-Upstream-Response-Time"]; len(got) != 1 {
		s.Errorf("x-upstream-response-time: %q", got)
	}
}

func contents(s *suite) {
	s.serve(all(s.app(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			s.Error(err)
		}
		if q.URL.Path == "/counted" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		if _, err := w.Write(body); err != nil {
			s.Error(err)
		}
	})))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{Timeout: patience, Transport: transport}
	for _, length := range []int{0, 1, 8 << 10, 64<<10 - 1, 64 << 10, 1 << 20} {
		want := strings.Repeat("0123456789abcde\n", 1<<16)[:length]
		for _, path := range []string{"/counted", "/chunked"} {
			// A reader of no known length is sent in chunks.
			for _, body := range []io.Reader{strings.NewReader(want), io.LimitReader(strings.NewReader(want), 1<<30)} {
				request, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "http://"+s.proxy.Address()+path, body)
				if err != nil {
					s.Fatal(err)
				}
				request.Host = "demo.local"
				response, err := client.Do(request)
				if err != nil {
					s.Fatalf("%d bytes to %s: %v", length, path, err)
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || string(got) != want {
					s.Errorf("%d bytes to %s: %d came back with %d, %v", length, path, len(got), response.StatusCode, err)
				}
			}
		}
	}
}

// smuggling sends what a proxy and an app could read differently. The app must
// never see the second request that may be hidden in the first.
func smuggling(s *suite) {
	s.serve(all(s.app(func(_ http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/hidden" {
			s.Error("the app got the request that was hidden")
		}
		_, _ = io.Copy(io.Discard, q.Body)
	})))
	const hidden = "GET /hidden HTTP/1.1\r\nHost: demo.local\r\n\r\n"
	for _, fields := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nContent-Length: 5",
		"Content-Length: 0\r\nContent-Length: 43",
		"Content-Length: 0, 43",
		"Content-Length: +43",
		"Transfer-Encoding: xchunked",
		"Transfer-Encoding : chunked",
		"Transfer-Encoding: chunked, identity",
		"Transfer-Encoding:\x0bchunked",
		"X: y\r\n Transfer-Encoding: chunked",
	} {
		got := s.says("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n" + fields + "\r\n\r\n0\r\n\r\n" + hidden)
		if strings.Count(got, "HTTP/1.1 ") > 1 {
			s.Errorf("%q was answered more than once:\n%s", fields, got)
		}
		if s.kind == Native && !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			s.Errorf("%q: %.100q, want 400", fields, got)
		}
	}
}

func hopByHop(s *suite) {
	s.serve(all(s.showsHeaders()))
	sent, _ := s.headersOf(map[string]string{"Keep-Alive": "timeout=5", "Te": "gzip", "Upgrade": "h2c", "Proxy-Connection": "keep-alive", "X-Kept": "1"})
	if s.kind == Nginx {
		// nginx passes on what is for one hop only, but for Connection and Upgrade.
		if sent["Upgrade"] != nil && sent.Get("Connection") != "" {
			s.Errorf("the app sees an upgrade: %q", sent)
		}
		return
	}
	for _, name := range []string{"Upgrade", "Keep-Alive", "Te", "Proxy-Connection"} {
		if sent[name] != nil {
			s.Errorf("the app sees %s: %q", name, sent[name])
		}
	}
	if sent.Get("X-Kept") == "" {
		s.Error("an ordinary field is lost")
	}
	if sent, _ := s.headersOf(map[string]string{"Connection": "X-For-You", "X-For-You": "1"}); sent["X-For-You"] != nil {
		s.Errorf("a field that Connection names reaches the app: %q", sent["X-For-You"])
	}
}

// earlyAnswers has apps answer before they have read the content, or send what
// they have in pieces.
func earlyAnswers(s *suite) {
	s.serve(all(s.app(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/early":
			w.Header().Set("Connection", "close")
			http.Error(w, "enough", http.StatusForbidden)
		case "/pieces":
			for range 3 {
				fmt.Fprint(w, "piece ")
				if err := http.NewResponseController(w).Flush(); err != nil {
					s.Error(err)
				}
			}
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "cut")
		}
	})))
	if got := s.send("demo.local", "/pieces", nil); got.body != "piece piece piece " {
		s.Errorf("in pieces: %+v", got)
	}
	if got := s.send("demo.local", "/none", nil); got.status != http.StatusNoContent {
		s.Errorf("no content: %+v", got)
	}
	if got := s.says("POST /early HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + strings.Repeat("x", 200_000)); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		s.Errorf("early: %.200q", got)
	}
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(s.says("GET /cut HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n"))), nil)
	if err != nil {
		return // nothing at all is no whole answer
	}
	if body, err := io.ReadAll(response.Body); err == nil && response.StatusCode == http.StatusOK {
		s.Errorf("an answer that is cut short is told from a whole one by nothing: %q", body)
	}
}

func pipelining(s *suite) {
	s.serve(all(s.sees("app")))
	connection, err := net.Dial("tcp", s.proxy.Address())
	if err != nil {
		s.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		s.Fatal(err)
	}
	const requests = 20
	var sent strings.Builder
	for i := range requests {
		fmt.Fprintf(&sent, "POST /%d HTTP/1.1\r\nHost: demo.local\r\nContent-Length: 3\r\n\r\nabc", i)
	}
	if _, err := io.WriteString(connection, sent.String()); err != nil {
		s.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	for i := range requests {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			s.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if want := fmt.Sprintf("app /%d", i); err != nil || string(body) != want {
			s.Fatalf("answer %d: %q, %v", i, body, err)
		}
	}
}

func tlsTasks(s *suite) {
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, "over TLS, asked for ", q.TLS.ServerName) }))
	s.Cleanup(app.Close)
	for verify, want := range map[route.Verify]int{route.VerifyNone: http.StatusOK, route.VerifyRequired: http.StatusBadGateway} {
		table := all(app)
		table.Hosts = append(table.Hosts, route.VirtualHost{Name: "other.local", Routes: table.Hosts[0].Routes})
		table.Upstreams[0].TLS = &route.TLS{Verify: verify}
		s.serve(table)
		for _, host := range []string{"demo.local", "other.local", "demo.local"} {
			got := s.send(host, "/", nil)
			if got.status != want || want == http.StatusOK && got.body != "over TLS, asked for "+host {
				s.Errorf("verify %q, %s: %+v, want %d", verify, host, got, want)
			}
		}
	}
}
