package proxy_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/logformat"
	"github.com/interlock-lb/interlock/internal/proxy"
)

func parsed(t *testing.T, words ...string) *logformat.Format {
	t.Helper()
	f, err := logformat.Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// logged is the line that a request leaves.
func logged(t *testing.T, format *logformat.Format, sent string) string {
	t.Helper()
	log := &lines{}
	r := newRig(t, func(o *proxy.Options) { o.AccessLog, o.LogFormat = log, format })
	r.serve(all(app(t, func(w http.ResponseWriter, q *http.Request) { _, _ = io.WriteString(w, "hello") })))
	r.says(sent)
	eventually(t, "a line is logged", func() bool { return strings.HasSuffix(log.String(), "\n") })
	return strings.TrimSuffix(log.String(), "\n")
}

func TestALineSaysWhatItsFormatAsksFor(t *testing.T) {
	const sent = "GET /a%20b?x=1 HTTP/1.1\r\nHost: demo.local:81\r\nX-Thing: so\"\n"
	got := logged(t, parsed(t, "escape=default",
		`$remote_addr|$remote_user|$request|$request_method|$request_uri|$uri|$args|$server_protocol|$scheme|$host|$status|`,
		`$http_x_thing|$http_nothing|$connection|$connection_requests|$interlock_host|$interlock_service|$ssl_protocol|$pipe`),
		strings.TrimSuffix(sent, "\n")+"\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\nConnection: close\r\n\r\n")
	const want = `127.0.0.1|alice|GET /a%20b?x=1 HTTP/1.1|GET|/a%20b?x=1|/a b|x=1|HTTP/1.1|http|demo.local|200|so\x22|-|1|1|demo.local|app|-|.`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Contains(got, "secret") {
		t.Error("a password is logged")
	}
}

func TestAJSONLineIsOneObjectWhateverClientsSend(t *testing.T) {
	body := strings.TrimSuffix(strings.TrimPrefix(logformat.JSONBody, `escape=json '`), `';`)
	got := logged(t, parsed(t, "escape=json", body),
		"GET /\"x HTTP/1.1\r\nHost: demo.local\r\nUser-Agent: a\"\\\xff\tü\r\nConnection: close\r\n\r\n")
	var object struct {
		Status, BodyBytesSent                 int
		RequestLength                         int `json:"request_length"`
		Method, URI, Host, Referer            string
		UserAgent                             string  `json:"user_agent"`
		RequestTime                           float64 `json:"request_time"`
		UpstreamAddr                          string  `json:"upstream_addr"`
		Time                                  time.Time
		UpstreamResponseTime, UpstreamConnect string
	}
	decoder := json.NewDecoder(strings.NewReader(got))
	if err := decoder.Decode(&object); err != nil || decoder.More() {
		t.Fatalf("%v: %s", err, got)
	}
	if object.Status != 200 || object.Method != http.MethodGet || object.URI != `/"x` || object.Host != "demo.local" || object.Referer != "" ||
		object.UserAgent != "a\"\\\ufffd\tü" || object.UpstreamAddr == "" || object.RequestLength == 0 || object.Time.IsZero() {
		t.Errorf("got %+v of %s", object, got)
	}
}

// The line of a request that was not whole says nothing of the one before.
func TestALineSaysNothingOfOtherRequests(t *testing.T) {
	log := &lines{}
	r := newRig(t, func(o *proxy.Options) {
		o.AccessLog, o.LogFormat, o.Limits.Header = log, parsed(t, "$request $uri $host $status"), short
	})
	r.serve(all(app(t, echo)))
	r.says("GET /secret HTTP/1.1\r\nHost: demo.local\r\n\r\nGET /half")
	eventually(t, "both are logged", func() bool { return strings.Count(log.String(), "\n") == 2 })
	if got, want := log.String(), "GET /secret HTTP/1.1 /secret demo.local 200\n- - - 408\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheFormatChangesWhileItServesAndWithoutOneNothingIsLogged(t *testing.T) {
	log := &lines{}
	options := proxy.Options{AccessLog: log, Limits: proxy.DefaultLimits()}
	r := newRig(t, func(o *proxy.Options) {
		o.AccessLog = log
		options.Logger = o.Logger
		*o = withFormat(*o, parsed(t, "one $status"))
	})
	r.serve(all(app(t, echo)))
	r.says(getting("demo.local", "/"))
	r.server.Configure(withFormat(options, &logformat.Format{}))
	r.says(getting("demo.local", "/"))
	r.server.Configure(withFormat(options, parsed(t, "two $status")))
	r.says(getting("demo.local", "/"))
	eventually(t, "the last is logged", func() bool { return strings.HasSuffix(log.String(), "two 200\n") })
	if got := log.String(); got != "one 200\ntwo 200\n" {
		t.Errorf("got %q", got)
	}
}

func withFormat(o proxy.Options, f *logformat.Format) proxy.Options {
	o.LogFormat = f
	return o
}

// stuck takes nothing until it is let go.
type stuck struct{ release chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.release
	return 0, errors.New("nobody reads")
}

func TestALogThatNobodyReadsHoldsUpNobodyAndIsCounted(t *testing.T) {
	to := stuck{make(chan struct{})}
	format := parsed(t, strings.Repeat("x", 64<<10)+"$status")
	r := newRig(t, func(o *proxy.Options) { o.AccessLog, o.LogFormat = to, format })
	r.serve(all(app(t, echo)))
	for range 64 {
		if got := r.says(strings.Repeat("GET / HTTP/1.1\r\nHost: demo.local\r\n\r\n", 3) + getting("demo.local", "/")); strings.Count(got, "200 OK") != 4 {
			t.Fatalf("got %.200q", got)
		}
	}
	if r.server.Figures().LogDropped == 0 {
		t.Error("nothing is counted as dropped")
	}
	close(to.release)
}
