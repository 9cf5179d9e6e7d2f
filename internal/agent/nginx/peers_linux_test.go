package nginx_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/route"
)

// inNetworkOfItsOwn plays the test in a process with a network namespace of its own,
// whose kernel asks silent connections as the core has it in proxies' containers. It
// returns true in that process.
func inNetworkOfItsOwn(t *testing.T) bool {
	t.Helper()
	const marker = "TEST_NETWORK_OF_ITS_OWN"
	if os.Getenv(marker) == "" {
		fixture.NeedRoot(t, "a network namespace")
		name := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+name, "-test.count=1", "-test.v", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), marker+"=yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return false
	}
	loopback, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(loopback)
	}
	for name, value := range map[string]string{"time": "1", "intvl": "1", "probes": "2"} {
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv4/tcp_keepalive_"+name, []byte(value), 0)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

// mortal is an app whose machine is gone after its first answer, or with a request
// that it has acknowledged.
func mortal(t *testing.T, atOnce bool) *fixture.Mortal {
	t.Helper()
	return fixture.NewMortal(t, func(c *net.TCPConn) {
		if atOnce {
			acknowledged(t, c)
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmortal"); err != nil {
			t.Error(err)
		}
		delivered(t, c)
	}, nil)
}

// delivered waits until all that was sent is acknowledged: the dead send nothing again.
func delivered(t *testing.T, c *net.TCPConn) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		left := 0
		fixture.OnSocket(t, c, func(fd int) (err error) { left, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ); return err })
		if left == 0 {
			return
		}
	}
	t.Error("what was sent is not acknowledged")
}

// acknowledged has what came on a connection acknowledged at once.
func acknowledged(t *testing.T, c *net.TCPConn) {
	t.Helper()
	fixture.OnSocket(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}

// with serves demo.local from the app and the others, by one worker, so that all
// requests can meet on a connection that is kept.
func (r *rig) with(at netip.AddrPort, others ...*counted) {
	r.t.Helper()
	table := tableFor()
	endpoints := []route.Endpoint{{Addr: at}}
	for _, other := range others {
		endpoints = append(endpoints, route.Endpoint{Addr: other.addr()})
	}
	table.Upstreams[0].Endpoints = append(table.Upstreams[0].Endpoints, endpoints...)
	r.apply(r.render(r.port, table, map[string]any{"WorkerProcesses": "1"}))
}

func TestAGetIsAnsweredThoughTheMachineThatHasItIsGone(t *testing.T) {
	for name, atOnce := range map[string]bool{"before it acknowledges the request": false, "while it works on the request": true} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if !inNetworkOfItsOwn(t) {
				return
			}
			r, m, other := newRig(t), mortal(t, atOnce), newCounted(t, 0)
			r.with(m.Addr, other)
			// What has to end it here would take ten minutes; get gives up before.
			for n := 0; n < 3 || !m.Gone.Load(); n++ {
				got, err := r.get("demo.local", fmt.Sprintf("/%d", n))
				if err != nil || got.status != http.StatusOK {
					t.Fatalf("GET %d: %+v, %v", n, got, err)
				}
				if got.body == "mortal" {
					r.eventually("the machine is gone", m.Gone.Load)
				}
			}
		})
	}
}

func TestAPostToAMachineThatIsGoneFailsAndIsNotSentTwice(t *testing.T) {
	if !inNetworkOfItsOwn(t) {
		return
	}
	r, m, other := newRig(t), mortal(t, false), newCounted(t, 0)
	r.with(m.Addr, other)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	failed := 0
	for n := range 4 {
		path := fmt.Sprintf("/post/%d", n)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", r.port, path), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = "demo.local"
		response, err := client.Do(request)
		if err != nil {
			t.Fatalf("POST %d: %v", n, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatalf("POST %d: %v", n, err)
		}
		if string(body) == "mortal" {
			r.eventually("the machine is gone", m.Gone.Load)
		}
		switch response.StatusCode {
		case http.StatusOK:
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			failed++
			if other.asked(path) > 0 {
				t.Errorf("POST %d was sent to another app too", n)
			}
		default:
			t.Errorf("POST %d: %s", n, response.Status)
		}
	}
	if !m.Gone.Load() || failed != 1 {
		t.Errorf("%d requests failed, want the one that the machine had when it was gone", failed)
	}
}

func TestAnAppThatIsSlowIsNotTakenForGone(t *testing.T) {
	const longer = 4 * time.Second // than what a machine may be silent for
	r, slow, other := newRig(t), newCounted(t, longer), newCounted(t, longer)
	r.with(slow.addr(), other)
	got, err := r.get("demo.local", "/slow")
	if err != nil || got.status != http.StatusOK {
		t.Errorf("%+v, %v", got, err)
	}
	if n := slow.asked("/slow") + other.asked("/slow"); n != 1 {
		t.Errorf("apps were asked %d times", n)
	}
}

// A client on a train may be back later.
func TestAClientThatIsSilentKeepsItsConnection(t *testing.T) {
	const longer = 4 * time.Second // than what an app's machine may be silent for
	r := newRig(t)
	r.with(newCounted(t, 0).addr())
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(c)
	ask := func(path string) {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: demo.local\r\n\r\n", path)
	}
	answered := func() {
		response, err := http.ReadResponse(answers, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ask("/before")
	answered()
	fixture.Vanish(t, c.(*net.TCPConn))
	ask("/while")
	time.Sleep(longer)
	fixture.Reappear(t, c.(*net.TCPConn))
	answered()
	ask("/after")
	answered()
}

// counted is an app that takes its time and counts requests by their paths.
type counted struct {
	*httptest.Server
	mu    sync.Mutex
	paths map[string]int
}

func newCounted(t *testing.T, delay time.Duration) *counted {
	t.Helper()
	c := &counted{paths: make(map[string]int)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c.mu.Lock()
		c.paths[q.URL.Path]++
		c.mu.Unlock()
		time.Sleep(delay)
		fmt.Fprint(w, "counted")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *counted) addr() netip.AddrPort {
	return netip.MustParseAddrPort(c.Listener.Addr().String())
}

func (c *counted) asked(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[path]
}
