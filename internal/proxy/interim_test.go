package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/route"
)

// scripted is a table of an app that answers each request with the same bytes,
// and then ends the connection if it is to.
func scripted(t *testing.T, answer string, ends bool) *route.Table {
	t.Helper()
	table := all()
	table.Upstreams[0].Endpoints = []route.Endpoint{{Addr: listen(t, func(c net.Conn) {
		defer c.Close()
		from := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(from); err != nil || !says(c, "%s", answer) || ends {
				return
			}
		}
	})}}
	return table
}

func TestInterimAnswersReachClientsThatKnowThem(t *testing.T) {
	r := newRig(t)
	const early, final = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n", "HTTP/1.1 200 OK\r\n"
	r.serve(scripted(t, early+"\r\n"+final+"Content-Length: 2\r\n\r\nok", false))
	got := r.says(getting("demo.local", "/"))
	if !strings.HasPrefix(got, early) || strings.Count(got, final) != 1 || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("%q", got)
	}
	// RFC 9110, section 15.2: nothing of the kind goes to a client of HTTP/1.0.
	got = r.says("GET / HTTP/1.0\r\nHost: demo.local\r\n\r\n")
	if !strings.HasPrefix(got, final) || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("to a client of HTTP/1.0: %q", got)
	}
}

const opening = "GET /ws HTTP/1.1\r\nHost: demo.local\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

// Until the app has switched, what a client sends is its next request.
func TestAWebsocketBeginsWithTheAppsConsentOnly(t *testing.T) {
	r := newRig(t)
	r.serve(scripted(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", false))
	got := r.says(opening + getting("demo.local", "/next"))
	if strings.Count(got, "HTTP/1.1 403 ") != 2 || strings.Contains(got, "HTTP/1.1 101 ") {
		t.Errorf("%q", got)
	}
}

func TestAnAppThatSwitchesUnaskedIsNotHeard(t *testing.T) {
	r := newRig(t)
	const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: "
	for name, c := range map[string]struct{ protocol, request string }{
		"without being asked":  {"websocket", getting("demo.local", "/")},
		"to another protocol":  {"h2c", opening},
		"where nobody may ask": {"websocket", strings.Replace(opening, "/ws", "/", 1)},
	} {
		r.serve(scripted(t, switched+c.protocol+"\r\n\r\nsecret", true))
		conn := r.dial()
		if _, err := io.WriteString(conn, c.request); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 502 ") || strings.Contains(string(got), "secret") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
