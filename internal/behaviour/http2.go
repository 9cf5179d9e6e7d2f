package behaviour

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/interlock-lb/interlock/internal/route"
)

// multiplexed runs an app that speaks HTTP/2 and nothing else, without TLS.
func (s *suite) multiplexed(handler http.HandlerFunc) *httptest.Server {
	s.Helper()
	app := httptest.NewUnstartedServer(handler)
	app.Config.Protocols = &http.Protocols{}
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	s.Cleanup(func() {
		app.CloseClientConnections() // which Close would wait for
		app.Close()
	})
	return app
}

// allOverHTTP2 sends everything to apps that speak it.
func allOverHTTP2(apps ...*httptest.Server) *route.Table {
	u := upstream("app", apps...)
	u.HTTP2 = true
	return demo([]route.Route{{PathPrefix: "/app", Rewrite: true, Forward: to("app")}, {PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")}}, u)
}

func http2Tasks(s *suite) {
	s.serve(allOverHTTP2(s.multiplexed(func(w http.ResponseWriter, q *http.Request) {
		if q.ProtoMajor != 2 {
			s.Errorf("the app was asked in %s", q.Proto)
		}
		w.Header().Set("X-Method", q.Method)
		switch q.URL.Path {
		case "/echo":
			if _, err := io.Copy(w, q.Body); err != nil {
				s.Error(err)
			}
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/pieces":
			w.Header().Set("Trailer", "X-Checked")
			for range 3 {
				fmt.Fprint(w, "piece ")
				if err := http.NewResponseController(w).Flush(); err != nil {
					s.Error(err)
				}
			}
			w.Header().Set("X-Checked", "yes")
		default:
			fmt.Fprint(w, q.RequestURI)
		}
	})))
	for _, path := range []string{"/", "/x?a=b", "/x%20y", "/a%2Fb"} {
		s.sendsTo(path, path)
	}
	s.sendsTo("/app/x?a=b", "/x?a=b")
	s.sendsTo("/app/x%20y", "/x%20y")
	if got := s.send("demo.local", "/app?a=b", nil); got.status != http.StatusFound || got.header.Get("Location") != "/app/?a=b" {
		s.Errorf("the root: %+v", got)
	}
	if got := s.send("demo.local", "/none", nil); got.status != http.StatusNoContent || got.body != "" {
		s.Errorf("no content: %+v", got)
	}
	if got := s.send("demo.local", "/pieces", nil); got.body != "piece piece piece " {
		s.Errorf("in pieces: %+v", got)
	}
	s.echoes()
	// nginx says that there would be nothing, which is wrong (RFC 9110, section 8.6).
	length := by{Nginx: "\r\nContent-Length: 0\r\n", Native: "\r\nContent-Length: 2\r\n"}[s.kind]
	if got := s.says("HEAD /x HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, length) || !strings.HasSuffix(got, "\r\n\r\n") {
		s.Errorf("HEAD: %q", got)
	}
	if got := s.says("POST /echo HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"); !strings.Contains(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "hello") && !strings.Contains(got, "\r\nhello\r\n") {
		s.Errorf("after 100: %q", got)
	}
	if connection, err := s.open("/ws"); err == nil {
		connection.CloseNow()
		s.Error("a websocket was opened over HTTP/2")
	}
}

// echoes sends content of all sorts, over connections that are kept.
func (s *suite) echoes() {
	s.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := http.Client{Timeout: patience, Transport: transport}
	for _, length := range []int{0, 1, 8 << 10, 64 << 10, 1 << 20} {
		want := strings.Repeat("0123456789abcde\n", 1<<16)[:length]
		// A reader of no known length is sent in chunks.
		for _, body := range []io.Reader{strings.NewReader(want), io.LimitReader(strings.NewReader(want), 1<<30)} {
			request, err := http.NewRequestWithContext(s.Context(), http.MethodPut, "http://"+s.proxy.Address()+"/echo", body)
			if err != nil {
				s.Fatal(err)
			}
			request.Host = "demo.local"
			response, err := client.Do(request)
			if err != nil {
				s.Fatalf("%d bytes: %v", length, err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || string(got) != want || response.Header.Get("X-Method") != http.MethodPut {
				s.Errorf("%d bytes: %d came back with %s, %v", length, len(got), response.Status, err)
			}
		}
	}
}

// tooLong sends more content than proxies take by default.
func tooLong(s *suite) {
	const most = 1 << 20
	reads := func(w http.ResponseWriter, q *http.Request) {
		n, err := io.Copy(io.Discard, q.Body)
		fmt.Fprintf(w, "%d bytes, %v", n, err)
	}
	post := func(content int) int {
		// Whoever refuses it need not read it.
		answer := s.says(fmt.Sprintf("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", content) + strings.Repeat("x", min(content, most)))
		var status int
		if _, err := fmt.Sscanf(answer, "HTTP/1.1 %d ", &status); err != nil {
			s.Errorf("%d bytes: %.100q", content, answer)
		}
		return status
	}
	s.serve(demo([]route.Route{{PathPrefix: "/", Forward: to("app")}}, upstream("app", s.app(reads))))
	if at, above := post(most), post(most+1); at != 200 || above != 413 {
		s.Errorf("%d bytes: %d, one more: %d", most, at, above)
	}
	// nginx cannot tell a call of gRPC from other requests to a task that speaks
	// HTTP/2, and bounds none of those. To bound what is no call is right.
	if s.kind == Nginx {
		return
	}
	s.serve(allOverHTTP2(s.multiplexed(reads)))
	if at, above := post(most), post(most+1); at != 200 || above != 413 {
		s.Errorf("to a task that speaks HTTP/2: %d bytes: %d, one more: %d", most, at, above)
	}
}

func http2Fields(s *suite) {
	app := s.multiplexed(func(w http.ResponseWriter, q *http.Request) {
		q.Header.Set("Host", q.Host)
		w.Header().Set("X-Request-Id", "the app's own")
		if err := json.NewEncoder(w).Encode(q.Header); err != nil {
			s.Error(err)
		}
	})
	s.serve(allOverHTTP2(app))
	sent, answered := s.headersOf(map[string]string{
		"X-Real-Ip": "a lie", "X-Forwarded-Proto": "a lie", "X-Request-Id": "a lie", "With_underscore": "x", "X-Own": "kept",
		"Keep-Alive": "timeout=5", "Te": "trailers", "Upgrade": "h2c", "Connection": "Upgrade", "Cookie": "a=b; c=d",
	})
	for name, want := range map[string]string{
		"Host": "demo.local", "X-Real-Ip": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Own": "kept", "With_underscore": "",
		"Keep-Alive": "", "Te": "trailers", "Upgrade": "", "Connection": "", "Cookie": "a=b; c=d",
	} {
		if got := strings.Join(sent.Values(name), ", "); got != want {
			s.Errorf("the app sees %s: %q, want %q", name, got, want)
		}
	}
	if id := sent.Get("X-Request-Id"); len(id) != 32 || strings.Join(answered["X-Request-Id"], ", ") != id {
		s.Errorf("the app knows the request as %q, the client as %q", id, answered["X-Request-Id"])
	}
	if got := answered.Get("X-Upstream-Addr"); got != app.Listener.Addr().String() {
		s.Errorf("x-upstream-addr: %q", got)
	}
}
