package http1_test

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// parse reads a head as a proxy does: measured first, then parsed.
func parse(head string) (*http1.Request, error) {
	n, err := http1.HeadLength([]byte(head), 0)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errNotWhole
	}
	r := &http1.Request{}
	return r, r.Parse([]byte(head)[:n])
}

var errNotWhole = errors.New("the head is not whole")

// get is a request with a line, or several, behind that of the Host.
func get(lines string) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" }

func TestWhatCouldBeReadInTwoWaysIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		head   string
		status int
	}{
		"no version":                       {"GET /\r\n\r\n", 400},
		"two blanks":                       {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a blank in the target":            {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a tab for a blank":                {"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a method that is no token":        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"another version":                  {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		"a minor version nobody knows":     {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
		"a version in lower case":          {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
		"a line feed alone":                {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
		"a line feed alone in fields":      {get("A: b\nC: d\r\n"), 400},
		"a carriage return alone":          {get("A: b\rC: d\r\n"), 400},
		"a NUL in a value":                 {get("A: b\x00c\r\n"), 400},
		"a NUL in a name":                  {get("A\x00: b\r\n"), 400},
		"an empty name":                    {get(": b\r\n"), 400},
		"no colon":                         {get("A\r\n"), 400},
		"a blank before the colon":         {get("A : b\r\n"), 400},
		"a blank before the name":          {get(" A: b\r\n"), 400},
		"a folded field":                   {get("A: b\r\n c\r\n"), 400},
		"a folded field with a tab":        {get("A: b\r\n\tc\r\n"), 400},
		"a fragment":                       {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a target that is no path":         {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"an asterisk":                      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a tunnel":                         {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
		"an escape cut short":              {"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"an escape of no digits":           {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"an escaped NUL":                   {"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a control character in a target":  {"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"no host":                          {"GET / HTTP/1.1\r\n\r\n", 400},
		"an empty host":                    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		"two hosts":                        {get("Host: a\r\n"), 400},
		"two hosts in HTTP/1.0":            {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		"a list of hosts":                  {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
		"a host with userinfo":             {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
		"a host with a path":               {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		"a host that is a dot":             {"GET / HTTP/1.1\r\nHost: .\r\n\r\n", 400},
		"a host that begins with a dot":    {"GET / HTTP/1.1\r\nHost: .a\r\n\r\n", 400},
		"a host with two dots":             {"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400},
		"a port that is none":              {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400},
		"a port too large":                 {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
		"an address that is none":          {"GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400},
		"an absolute target elsewhere":     {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"an absolute target's other port":  {"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"an absolute target with userinfo": {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"another scheme":                   {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"two lengths":                      {get("Content-Length: 1\r\nContent-Length: 2\r\n"), 400},
		"one length twice":                 {get("Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
		"a list of lengths":                {get("Content-Length: 1, 1\r\n"), 400},
		"a signed length":                  {get("Content-Length: +1\r\n"), 400},
		"a negative length":                {get("Content-Length: -1\r\n"), 400},
		"an empty length":                  {get("Content-Length:\r\n"), 400},
		"a length in hexadecimal":          {get("Content-Length: 0x1\r\n"), 400},
		"a length that overflows":          {get("Content-Length: 9223372036854775808\r\n"), 400},
		"a length and a coding":            {get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400},
		"another coding":                   {get("Transfer-Encoding: gzip\r\n"), 400},
		"two codings":                      {get("Transfer-Encoding: gzip, chunked\r\n"), 400},
		"a coding twice":                   {get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
		"identity":                         {get("Transfer-Encoding: identity\r\n"), 400},
		"a quoted coding":                  {get("Transfer-Encoding: \"chunked\"\r\n"), 400},
		"a coding with a vertical tab":     {get("Transfer-Encoding: \x0bchunked\r\n"), 400},
		"a coding in HTTP/1.0":             {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"another expectation":              {get("Expect: 200-ok\r\n"), 417},
		"more fields than allowed":         {get(strings.Repeat("A: b\r\n", http1.MaxFields)), 431},
		"a longer head than allowed":       {get("A: " + strings.Repeat("b", http1.MaxHead) + "\r\n"), 431},
	} {
		_, err := parse(test.head)
		var malformed *http1.Malformed
		if !errors.As(err, &malformed) || malformed.Status != test.status {
			t.Errorf("%s: %v, want a refusal with %d", name, err, test.status)
		}
	}
}

func TestWhatIsWellFormedIsUnderstood(t *testing.T) {
	for name, test := range map[string]struct {
		head string
		want func(*http1.Request) bool
	}{
		"a target": {"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", func(r *http1.Request) bool {
			return string(r.Target.Raw) == "/a?b" && string(r.Target.Path) == "/a" && r.Target.Plain
		}},
		"an absolute target":           {"GET http://A:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n", func(r *http1.Request) bool { return string(r.Target.Raw) == "/x" && string(r.Host) == "a" }},
		"an absolute target of 1.0":    {"GET http://a HTTP/1.0\r\n\r\n", func(r *http1.Request) bool { return string(r.Target.Raw) == "/" && string(r.Host) == "a" }},
		"a host with a port":           {"GET / HTTP/1.1\r\nHost: a.b:8080\r\n\r\n", func(r *http1.Request) bool { return string(r.Host) == "a.b" && string(r.Authority) == "a.b:8080" }},
		"an IPv6 address":              {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", func(r *http1.Request) bool { return string(r.Host) == "[::1]" }},
		"no host in HTTP/1.0":          {"GET / HTTP/1.0\r\n\r\n", func(r *http1.Request) bool { return len(r.Host) == 0 && !r.KeepAlive }},
		"keep-alive in HTTP/1.0":       {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", func(r *http1.Request) bool { return r.KeepAlive }},
		"keep-alive":                   {get(""), func(r *http1.Request) bool { return r.KeepAlive && r.Content.Framing == http1.NoContent }},
		"close among others":           {get("Connection: x, Close\r\n"), func(r *http1.Request) bool { return !r.KeepAlive }},
		"close after another":          {get("Connection: x\r\nConnection: close\r\n"), func(r *http1.Request) bool { return !r.KeepAlive }},
		"content of a length":          {get("Content-Length: 007\r\n"), func(r *http1.Request) bool { return r.Content == http1.Content{Framing: http1.Counted, Length: 7} }},
		"no content, told so":          {get("Content-Length: 0\r\n"), func(r *http1.Request) bool { return r.Content.Framing == http1.NoContent && r.Declared() }},
		"chunks":                       {get("Transfer-Encoding: Chunked\r\n"), func(r *http1.Request) bool { return r.Content.Framing == http1.Chunked }},
		"an expectation":               {get("Expect: 100-Continue\r\nContent-Length: 1\r\n"), func(r *http1.Request) bool { return r.Continue }},
		"an expectation of nothing":    {get("Expect: 100-continue\r\n"), func(r *http1.Request) bool { return !r.Continue }},
		"a websocket":                  {get("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"), func(r *http1.Request) bool { return r.Websocket }},
		"an upgrade to something else": {get("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"), func(r *http1.Request) bool { return !r.Websocket }},
		"an upgrade of this hop only":  {get("Upgrade: websocket\r\n"), func(r *http1.Request) bool { return !r.Websocket }},
		"blanks around a value":        {get("A: \t b c \t\r\n"), func(r *http1.Request) bool { return string(r.Fields[1].Value) == "b c" }},
		"bytes beyond ASCII":           {get("A: \xff\r\n"), func(r *http1.Request) bool { return string(r.Fields[1].Value) == "\xff" }},
		"a cookie":                     {get("Cookie: a=1; session=x=y; b=2\r\n"), func(r *http1.Request) bool { return string(r.Cookie("session")) == "x=y" && r.Cookie("c") == nil }},
		"a field for this hop": {get("Connection: x-own, close\r\nX-Own: 1\r\nOther: 2\r\n"), func(r *http1.Request) bool {
			return r.ForOneHop(&r.Fields[2]) && !r.ForOneHop(&r.Fields[3])
		}},
	} {
		r, err := parse(test.head)
		if err != nil || !test.want(r) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestAHeadIsMeasuredInPieces(t *testing.T) {
	head := get("A: b\r\n")
	for i := range len(head) {
		if n, err := http1.HeadLength([]byte(head)[:i], max(i-1, 0)); n != 0 || err != nil {
			t.Fatalf("of %d bytes: %d, %v", i, n, err)
		}
	}
	for seen := range len(head) {
		if n, err := http1.HeadLength([]byte(head+"GET"), seen); n != len(head) || err != nil {
			t.Fatalf("after %d bytes: %d, %v", seen, n, err)
		}
	}
}

func TestPathsAreResolvedAsTheirReadersDo(t *testing.T) {
	for path, want := range map[string][2]string{ // segments as sent; resolved, empty: above the root
		"/":                {"/", "/"},
		"/a/b":             {"/a/b", "/a/b"},
		"/a/./b/":          {"/a/./b/", "/a/b/"},
		"/a/../b":          {"/a/../b", "/b"},
		"/a//b":            {"/a//b", "/a/b"},
		"/a/%2e%2E/b":      {"/a/../b", "/b"},
		"/a/..%2fb":        {"/a/..%2fb", "/b"},
		"/%61":             {"/a", "/a"},
		"/a/..":            {"/a/..", "/"},
		"/a/.":             {"/a/.", "/a/"},
		"/a/b/..":          {"/a/b/..", "/a/"},
		"/..":              {"/..", ""},
		"/a/../../b":       {"/a/../../b", ""},
		"/.well-known/x":   {"/.well-known/x", "/.well-known/x"},
		"/...":             {"/...", "/..."},
		"/a..b/":           {"/a..b/", "/a..b/"},
		"/a%252e%252e/b":   {"/a%2e%2e/b", "/a%2e%2e/b"},
		"//a":              {"//a", "/a"},
		"/%C3%A9%20":       {"/é ", "/é "},
		"/a;x=../b/..;y/c": {"/a;x=../b/..;y/c", "/a;x=../b/..;y/c"},
	} {
		r, err := parse("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		resolved, err := r.Target.AppendResolved(nil)
		if err != nil {
			resolved = nil
		}
		if got := string(r.Target.AppendDecoded(nil)); got != want[0] || string(resolved) != want[1] {
			t.Errorf("%s: decoded %q, resolved %q, want %q", path, got, resolved, want)
		}
		if r.Target.Plain && (path != want[0] || path != want[1]) {
			t.Errorf("%s: it is said to read the same for everybody", path)
		}
	}
}

func TestACallOfGRPCIsKnownByItsContentType(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "Application/gRPC; charset=x": true,
		"application/grpc-web": false, "application/grpcx": false, "application/json": false, "": false,
	} {
		r, err := parse(get("Content-Type: " + kind + "\r\n"))
		if err != nil || r.CallsGRPC() != want {
			t.Errorf("%q: %v, %v", kind, !want, err)
		}
	}
	if r, err := parse(get("")); err != nil || r.CallsGRPC() {
		t.Errorf("without a type: %v", err)
	}
}

// What is accepted here must mean the same to others.
func FuzzRequestsMeanTheSameToNetHTTP(f *testing.F) {
	for _, seed := range []string{
		get(""), get("Content-Length: 5\r\n") + "hello", get("Transfer-Encoding: chunked\r\n") + "0\r\n\r\n",
		"POST http://a:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /%2e%2e/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		get("Connection: close, x\r\nX: y\r\n"), get("A : b\r\n"), get("A: b\r\n c\r\n"), get("Host: b\r\n"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := http1.HeadLength(data, 0)
		if err != nil || n == 0 {
			return
		}
		r := &http1.Request{}
		if r.Parse(data[:n]) != nil {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			t.Fatalf("net/http refuses what is accepted here: %v", err)
		}
		if theirs.Method != string(r.Method) || !strings.EqualFold(theirs.Host, string(r.Authority)) {
			t.Errorf("method %q, host %q; net/http has %q, %q", r.Method, r.Authority, theirs.Method, theirs.Host)
		}
		chunked := len(theirs.TransferEncoding) > 0
		if chunked != (r.Content.Framing == http1.Chunked) || !chunked && theirs.ContentLength != r.Content.Length {
			t.Errorf("content %+v; net/http has %d, %q", r.Content, theirs.ContentLength, theirs.TransferEncoding)
		}
		if theirs.Close == r.KeepAlive {
			t.Errorf("keep-alive is %t; net/http has the opposite", r.KeepAlive)
		}
	})
}
