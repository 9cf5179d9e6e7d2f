package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// answers is an engine that says what no real one can be made to say: for each
// path the body of its answer. What it has no answer for is an empty list,
// and it is a manager.
type answers map[string]string

// of returns the engine of these answers, which speaks that version.
func (a answers) of(apiVersion string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if apiVersion != "" {
			w.Header().Set("Api-Version", apiVersion)
		}
		_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		body, found := a[path]
		switch {
		case !found && path == "info":
			body = `{"Swarm":{"LocalNodeState":"active","ControlAvailable":true}}`
		case !found:
			body = "[]"
		case body == "":
			http.Error(w, `{"message":"rpc error: code = Unknown desc = The swarm does not have a leader."}`, http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, body)
	}
}

// serve returns a client of engine that logs to log.
func serve(t *testing.T, engine http.Handler, log *strings.Builder) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "interlock-docker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	server := httptest.NewUnstartedServer(engine)
	if server.Listener, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(server.Close)
	c, err := Dial(t.Context(), Options{URL: "unix://" + socket, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// asked counts the lists of each kind that an engine was asked for.
type asked struct {
	engine http.Handler

	mu    sync.Mutex
	count map[string]int
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.count[path.Base(r.URL.Path)]++
	a.mu.Unlock()
	a.engine.ServeHTTP(w, r)
}

// of returns how often a kind was asked for since the last call, and whether
// anything else was.
func (a *asked) of(kind string) (times int, others bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	times = a.count[kind]
	delete(a.count, kind)
	others = len(a.count) > 0
	clear(a.count)
	return times, others
}

func TestAReadingOfTasksTakesTheRestFromTheOneBefore(t *testing.T) {
	const node, service = `[{"ID":"n1"}]`, `[{"ID":"s1"}]`
	task := func(id, of, on, state string) string {
		return fmt.Sprintf(`{"ID":%q,"ServiceID":%q,"NodeID":%q,"Status":{"State":%q},"DesiredState":"running"}`, id, of, on, state)
	}
	known := task("t1", "s1", "n1", "running")
	for name, c := range map[string]struct {
		before, now string
		all         bool
	}{
		"a task has another state":        {task("t1", "s1", "n1", "starting"), known, false},
		"a task is new":                   {known, known + "," + task("t2", "s1", "n1", "running"), false},
		"a task has no node yet":          {known, known + "," + task("t2", "s1", "", "pending"), false},
		"one of two tasks is gone":        {known + "," + task("t2", "s1", "n1", "running"), known, false},
		"there never was a task":          {"", "", false},
		"an orphan stays":                 {known + "," + task("t2", "gone", "n1", "running"), known + "," + task("t2", "gone", "n1", "running"), false},
		"a task is of a service not read": {known, known + "," + task("t2", "s2", "n1", "running"), true},
		"a task is on a node not read":    {known, known + "," + task("t2", "s1", "n2", "running"), true},
		"a task comes to a node not read": {task("t1", "s1", "", "pending"), task("t1", "s1", "n2", "running"), true},
		"all tasks are gone":              {known, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			lists := answers{"nodes": node, "services": service, "tasks": "[" + c.before + "]"}
			engine := &asked{engine: lists.of("1.41"), count: make(map[string]int)}
			var log strings.Builder
			client := serve(t, engine, &log)
			if _, err := client.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			engine.of("")
			lists["tasks"] = "[" + c.now + "]"
			s, err := client.snapshotOfTasks(t.Context())
			if alone := errors.Is(err, errTasksAlone); alone != c.all || err != nil && !alone {
				t.Fatalf("it asks for everything: %v, want %v; %v", alone, c.all, err)
			}
			if _, others := engine.of("tasks"); others {
				t.Error("more than tasks were read")
			}
			if c.all {
				return
			}
			want, err := client.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, s, addresses); diff != "" {
				t.Errorf("a reading of everything says something else:\n%s", diff)
			}
			if log.Len() > 0 {
				t.Errorf("it was logged:\n%s", &log)
			}
		})
	}
}

func TestAReadingIsCompleteOrAnError(t *testing.T) {
	for name, c := range map[string]struct{ path, body, want string }{
		"a list that ends early":     {"tasks", `[{"ID":"a"},{"ID":"b"`, "reading the Swarm's tasks: the answer ended early"},
		"a list that is not closed":  {"nodes", `[{"ID":"a"}`, "reading the Swarm's nodes: the answer ended early"},
		"no list at all":             {"services", `{"ID":"a"}`, "reading the Swarm's services: the answer is no list"},
		"no JSON at all":             {"secrets", `<html>`, "reading the Swarm's secrets: invalid character '<'"},
		"an engine without a leader": {"configs", ``, "reading the Swarm's configs: The swarm does not have a leader."},
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, answers{c.path: c.body}.of("1.41"), new(strings.Builder))
			s, err := client.Snapshot(t.Context())
			if s != nil || err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNoListIsAnEmptyList(t *testing.T) {
	c := serve(t, answers{"secrets": "null\n"}.of("1.41"), new(strings.Builder))
	if s, err := c.Snapshot(t.Context()); err != nil || len(s.Secrets) != 0 {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestWhatARollbackNeedsIsRead(t *testing.T) {
	c := serve(t, answers{
		"services": `[{"ID":"app","Spec":{"Name":"app"},"PreviousSpec":{"Name":"app","TaskTemplate":{"ContainerSpec":{"Image":"app:1",
			"DNSConfig":{"Nameservers":["resolver"]},
			"Configs":[{"ConfigID":"b","ConfigName":"page","File":{"Name":"/page"}},{"ConfigID":"cred","Runtime":{}},{"ConfigID":"a","ConfigName":"conf","File":{"Name":"/x"}}]}}}}]`,
	}.of("1.41"), new(strings.Builder))
	s, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, s.Services[0].PreviousConfigs); diff != "" {
		t.Errorf("the configs of the specification before (-want +got):\n%s", diff)
	}
}

func TestOddAddressesHurtNobodyElse(t *testing.T) {
	log := new(strings.Builder)
	c := serve(t, answers{
		"networks": `[{"Id":"net","Name":"apps","Driver":"overlay","IPAM":{"Config":[{"Subnet":"fd05::/64","Gateway":"fd05::1/64"}]}}]`,
		"tasks": `[{"ID":"task","Status":{"State":"running"},"DesiredState":"running","NetworksAttachments":[
			{"Network":{"ID":"net","IPAMOptions":{"Configs":[{"Gateway":"fd05::1/64"}]}},"Addresses":["10.0.0.7","fd05::7/64","10.0.0.300/24"]}]}]`,
		"services": `[{"ID":"app","Spec":{"Name":"app","TaskTemplate":{"ContainerSpec":{"Image":"app:1","DNSConfig":{"Nameservers":["resolver"]}}}},
			"Endpoint":{"VirtualIPs":[{"NetworkID":"net","Addr":"10.0.0.2"},{"NetworkID":"none"}]}}]`,
	}.of("1.41"), log)
	var s *snapshot.Snapshot
	for range 3 {
		var err error
		if s, err = c.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Networks) != 1 || s.Networks[0].Name != "apps" {
		t.Errorf("networks: %+v", s.Networks)
	}
	if len(s.Services) != 1 || s.Services[0].Spec.Image != "app:1" || fmt.Sprint(s.Services[0].VirtualIPs) != "[{net 10.0.0.2/32}]" {
		t.Errorf("services: %+v", s.Services)
	}
	if len(s.Tasks) != 1 || fmt.Sprint(s.Tasks[0].List[0].Attachments) != "[{net [10.0.0.7 fd05::7]}]" {
		t.Errorf("tasks: %+v", s.Tasks)
	}
	if n := strings.Count(log.String(), "kind=task"); n != 1 {
		t.Errorf("the one bad address was logged %d times:\n%s", n, log)
	}
}

func TestAnObjectThatCannotBeReadIsLeftOutAlone(t *testing.T) {
	log := new(strings.Builder)
	nodes := `[{"ID":"good"},{"Status":{"Addr":7},"ID":"bad"},{"ID":"better"},"odd"]`
	c := serve(t, answers{"nodes": nodes}.of("1.41"), log)
	s, err := c.Snapshot(t.Context())
	if err != nil || len(s.Nodes) != 2 {
		t.Fatalf("got %+v, %v", s, err)
	}
	if !strings.Contains(log.String(), "kind=node id=bad") || !strings.Contains(log.String(), `id="without an ID"`) {
		t.Errorf("the object is not named:\n%s", log)
	}
}

func TestWhatCanNoLongerBeReadStaysAsItWasUntilItIsGone(t *testing.T) {
	const (
		good = `[{"ID":"known","Slot":1,"NodeID":"known","Status":{"State":"running"},"DesiredState":"running","Name":"known","Spec":{"Name":"known"}}]`
		odd  = `[{"ID":"known","Slot":"one","Name":7,"Spec":7},{"ID":"never known","Slot":"one","Name":7,"Spec":7}]`
	)
	all := func(list string) answers {
		return answers{"services": list, "tasks": list, "nodes": list, "networks": list}
	}
	now, log := all(good), new(strings.Builder)
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.of("1.41")(w, r) }), log)
	var readings []*snapshot.Snapshot
	for _, now = range []answers{all(good), all(odd), all(odd), all("[]"), all(odd)} {
		s, err := c.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		readings = append(readings, s)
	}
	if s := readings[0]; len(s.Services) != 1 || len(s.Tasks) != 1 || len(s.Nodes) != 1 || len(s.Networks) != 1 {
		t.Fatalf("the objects are not read: %+v", s)
	}
	for _, s := range readings[1:3] {
		if diff := cmp.Diff(readings[0], s, addresses); diff != "" {
			t.Errorf("an object is not as it was (-before +odd):\n%s", diff)
		}
	}
	for _, s := range readings[3:] {
		if len(s.Services)+len(s.Tasks)+len(s.Nodes)+len(s.Networks) != 0 {
			t.Errorf("what is gone is there again: %+v", s)
		}
	}
	if n := strings.Count(log.String(), "it stays as it was read last"); n != 4 {
		t.Errorf("the four objects were reported %d times:\n%s", n, log)
	}
}

func TestConfigsThatAreNotOursAreNotAskedFor(t *testing.T) {
	var asked atomic.Value
	engine := answers{}.of("1.41")
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/configs") {
			asked.Store(r.URL.Query().Get("filters"))
		}
		engine(w, r)
	}), new(strings.Builder))
	if _, err := c.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := `{"label":{"com.docker.interlock.role":true}}`; asked.Load() != want {
		t.Errorf("asked for %v, want %s", asked.Load(), want)
	}
}

func TestOfOtherConfigsThoseThatAreNamedAreRead(t *testing.T) {
	engine := answers{}.of("1.41")
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch filters := r.URL.Query().Get("filters"); {
		case !strings.HasSuffix(r.URL.Path, "/configs"):
			engine(w, r)
		case strings.Contains(filters, plan.LabelRole):
			fmt.Fprint(w, `[{"ID":"b","Spec":{"Name":"page.old","Labels":{"com.docker.interlock.role":"bundle"}}}]`)
		case filters == `{"name":{"page":true,"page.old":true}}`: // Swarm's filter goes by beginnings
			fmt.Fprint(w, `[{"ID":"a","Spec":{"Name":"page"}},{"ID":"c","Spec":{"Name":"pages"}},
				{"ID":"b","Spec":{"Name":"page.old","Labels":{"com.docker.interlock.role":"bundle"}}}]`)
		default:
			t.Errorf("asked for configs by %s", filters)
		}
	}), new(strings.Builder))
	c.configs = []string{"page", "page.old"}
	s, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range s.Configs {
		got = append(got, o.ID+" "+o.Name)
	}
	if diff := cmp.Diff([]string{"a page", "b page.old"}, got); diff != "" {
		t.Errorf("configs (-want +got):\n%s", diff)
	}
}

func TestAServiceThatGoesDuringItsUpdateIsAConflict(t *testing.T) {
	var gone atomic.Bool
	engine := answers{"services/app": `{"ID":"app","Version":{"Index":7}}`}.of("1.41")
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/update") {
			gone.Store(true)
		}
		if gone.Load() {
			http.Error(w, `{"message":"service app not found"}`, http.StatusNotFound)
			return
		}
		engine(w, r)
	}), new(strings.Builder))
	err := c.UpdateService(t.Context(), "app", 7, snapshot.ServiceSpec{Name: "app", Image: "app:1"})
	if !gone.Load() || !errors.Is(err, plan.ErrOutdated) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutItsEventsAnEngineIsReadStill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var attempts atomic.Int32
	engine := answers{"events": "{}"}.of("1.41") // a stream of one event that ends at once
	log := new(strings.Builder)
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") && attempts.Add(1) == 3 {
			cancel()
		}
		engine(w, r)
	}), log)
	published := 0
	if err := c.Run(ctx, func(*snapshot.Snapshot) { published++ }); err != nil || published != 1 {
		t.Errorf("%d publications, %v", published, err)
	}
	if attempts.Load() < 3 {
		t.Errorf("the stream was opened %d times", attempts.Load())
	}
	if n := strings.Count(log.String(), "event stream is lost"); n != 1 {
		t.Errorf("the lost stream was logged %d times:\n%s", n, log)
	}
}

func TestAnEngineThatCannotBeUsedSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		version, info string
		retryable     bool
		want          string
	}{
		"too old":                {"1.39", `{}`, false, "too old: it speaks API 1.39, and 1.40 (Engine 19.03)"},
		"no engine":              {"", `{}`, false, "no Docker Engine"},
		"failing":                {"1.41", ``, true, "The swarm does not have a leader."},
		"a worker":               {"1.41", `{"Swarm":{"LocalNodeState":"active"}}`, true, "a Swarm worker, not a manager"},
		"locked":                 {"1.41", `{"Swarm":{"LocalNodeState":"locked"}}`, true, "docker swarm unlock"},
		"still joining":          {"1.41", `{"Swarm":{"LocalNodeState":"pending","Error":"no route"}}`, true, `"pending", not active: no route`},
		"without a leader":       {"1.41", `{"Swarm":{"LocalNodeState":"active","ControlAvailable":true,"Error":"rpc error: code = Unknown desc = no leader"}}`, true, "cannot be managed now: no leader"},
		"answering with rubbish": {"1.41", `<html>`, true, "invalid character '<'"},
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, answers{"info": c.info}.of(c.version), new(strings.Builder))
			wantUnready(t, client.Check(t.Context()), c.retryable, c.want)
		})
	}
}

func TestAnEngineThatIsNotThereIsWorthWaitingFor(t *testing.T) {
	c := dial(t, "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	wantUnready(t, c.Check(t.Context()), true, "no such file or directory")
	_, err := c.CreateSecret(t.Context(), "s", nil, nil)
	wantUnready(t, err, true, "creating secret s: ")
}
