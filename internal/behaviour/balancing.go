package behaviour

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/route"
)

// spread counts which apps answer n requests.
func (s *suite) spread(n int, with func(i int) map[string]string) map[string]int {
	s.Helper()
	counts := map[string]int{}
	for i := range n {
		got := s.send("demo.local", "/", with(i))
		if got.status != http.StatusOK {
			s.Fatalf("request %d: %+v", i, got)
		}
		counts[got.body]++
	}
	return counts
}

func (s *suite) fourApps() route.Upstream {
	s.Helper()
	return upstream("app", s.sees("1"), s.sees("2"), s.sees("3"), s.sees("4"))
}

// sticks checks that each of 20 kinds of requests goes to one task, and not all
// of them to the same.
func (s *suite) sticks(with func(kind int) map[string]string) {
	s.Helper()
	tasks := map[string]bool{}
	for kind := range 20 {
		counts := s.spread(5, func(int) map[string]string { return with(kind) })
		if len(counts) != 1 {
			s.Errorf("requests with %v went to several tasks: %v", with(kind), counts)
		}
		for task := range counts {
			tasks[task] = true
		}
	}
	if len(tasks) < 2 {
		s.Errorf("20 kinds of requests went to %d tasks", len(tasks))
	}
}

func cookies(s *suite) {
	forward := to("app")
	forward.Affinity.Cookie = "session"
	s.serve(demo([]route.Route{{PathPrefix: "/", Forward: forward}}, s.fourApps()))
	s.sticks(func(kind int) map[string]string {
		return map[string]string{"Cookie": fmt.Sprintf("other=x; session=v%d", kind)}
	})
	if counts := s.spread(100, func(int) map[string]string { return nil }); len(counts) != 4 {
		s.Errorf("without a cookie 100 requests went to %v, want all four tasks", counts)
	}
}

func drainedCookies(s *suite) {
	forward := to("app")
	forward.Affinity.Cookie = "session"
	routes := []route.Route{{PathPrefix: "/", Forward: forward}}
	drained := s.sees("drained")
	stay := []*httptest.Server{s.sees("1"), s.sees("2"), s.sees("3")}
	taskOf := func(kind int) string {
		return s.send("demo.local", "/", map[string]string{"Cookie": fmt.Sprintf("session=v%d", kind)}).body
	}
	const kinds = 40
	s.serve(demo(routes, upstream("app", append(stay, drained)...)))
	before := make([]string, kinds)
	for kind := range before {
		before[kind] = taskOf(kind)
	}
	s.serve(demo(routes, upstream("app", stay...)))
	moved := 0
	for kind := range before {
		after := taskOf(kind)
		switch {
		case strings.HasPrefix(after, "drained"):
			s.Errorf("cookie %d still leads to the drained task", kind)
		case strings.HasPrefix(before[kind], "drained"):
			moved++
			if again := taskOf(kind); again != after {
				s.Errorf("cookie %d has moved to %q, and then to %q", kind, after, again)
			}
		case after != before[kind]:
			s.Errorf("cookie %d has moved from %q to %q, though its task is still there", kind, before[kind], after)
		}
	}
	if moved == 0 {
		s.Errorf("none of %d cookies led to the task that was drained", kinds)
	}
}

func addresses(s *suite) {
	forward := to("app")
	forward.Affinity.ClientAddress = true
	s.serve(demo([]route.Route{{PathPrefix: "/", Forward: forward}}, s.fourApps()))
	s.sticks(func(kind int) map[string]string {
		return map[string]string{"from": fmt.Sprintf("127.0.0.%d", kind+1)}
	})
}

func canary(s *suite) {
	v1, v2 := s.fourApps(), upstream("canary", s.sees("canary"))
	v1.MaxFails, v2.FailTimeout = new(3), 10*time.Second
	s.serve(demo([]route.Route{{PathPrefix: "/", Forward: to("app", "canary")}}, v1, v2))
	s.canaryGets(20)
}

// canaryGets asks often on one connection and expects the canary to answer so
// many percent of it.
func (s *suite) canaryGets(want float64) {
	s.Helper()
	const requests = 2000
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := http.Client{Timeout: patience, Transport: transport}
	share := 0.0
	for range requests {
		request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.proxy.Address()+"/", nil)
		if err != nil {
			s.Fatal(err)
		}
		request.Host = "demo.local"
		response, err := client.Do(request)
		if err != nil {
			s.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			s.Fatal(err)
		}
		if string(body) == "canary /" {
			share += 100.0 / requests
		}
	}
	if math.Abs(share-want) > 1 {
		s.Errorf("the canary got %.1f %% of the requests, want %g", share, want)
	}
}

func weights(s *suite) {
	v1, v2 := s.fourApps(), upstream("canary", s.sees("canary"))
	routes := []route.Route{{PathPrefix: "/", Forward: to("app", "canary")}}
	v1.Weight, v2.Weight = new(95), new(5)
	s.serve(demo(routes, v1, v2))
	s.canaryGets(5)
	v1.Endpoints = v1.Endpoints[:1]
	s.serve(demo(routes, v1, v2))
	s.canaryGets(5)
	v2.Weight = new(45)
	v1.Weight = nil // it has one task, so it counts as one
	s.serve(demo(routes, v1, v2))
	s.canaryGets(100 * 45.0 / 46)
}

func noWeight(s *suite) {
	v1, v2 := s.fourApps(), upstream("canary", s.sees("canary"))
	v2.Weight = new(0)
	table := demo([]route.Route{{PathPrefix: "/alone", Forward: to("canary")}, {PathPrefix: "/", Forward: to("app", "canary")}}, v1, v2)
	s.serve(table)
	s.canaryGets(0)
	if got := s.send("demo.local", "/alone", nil); got.status != http.StatusServiceUnavailable {
		s.Errorf("the only service of a path has the weight 0: %+v, want 503", got)
	}
}

// While requests hang at a task, the others get what comes.
func leastBusy(s *suite) {
	const requests = 60
	release, asked := make(chan struct{}), make(chan string, requests)
	does := func(name string, wait <-chan struct{}) *httptest.Server {
		return s.app(func(http.ResponseWriter, *http.Request) {
			asked <- name
			<-wait
		})
	}
	noWait := make(chan struct{})
	close(noWait)
	forward := to("app")
	forward.Balance = route.BalanceLeastConn
	s.serve(demo([]route.Route{{PathPrefix: "/", Forward: forward}}, upstream("app", does("hangs", release), does("1", noWait), does("2", noWait))))
	counts := map[string]int{}
	for range requests {
		c := s.dial()
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: demo.local\r\n\r\n"); err != nil {
			s.Fatal(err)
		}
		name := <-asked
		if counts[name]++; name == "hangs" {
			continue
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			s.Fatal(err)
		}
	}
	close(release)
	if n := counts["hangs"]; n < 1 || n > 3 || len(counts) != 3 {
		s.Errorf("of %d requests to three tasks, of which one hangs: %v", requests, counts)
	}
}

// A connection that was not made has brought no request: it may be tried
// elsewhere, whatever its method.
func refusingTask(s *suite) {
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	refusing.Close()
	u := upstream("app", s.app(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			s.Error(err)
		}
		fmt.Fprintf(w, "%d bytes", len(body))
	}))
	u.Endpoints = append(u.Endpoints, route.Endpoint{Addr: netip.MustParseAddrPort(refusing.Addr().String())})
	sortEndpoints(&u)
	s.serve(demo([]route.Route{{PathPrefix: "/", Forward: to("app")}}, u))
	for _, length := range []int{5, 100_000} {
		content := strings.Repeat("x", length)
		for range 10 {
			got := s.says(fmt.Sprintf("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", length, content))
			if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, fmt.Sprintf("%d bytes", length)) {
				s.Fatalf("%.300q", got)
			}
		}
	}
}
