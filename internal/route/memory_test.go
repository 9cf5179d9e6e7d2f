package route_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// history is a Swarm to which anything happens, with few names for many services
// so that they get in each other's way.
type history struct {
	*rand.Rand
	lists snapshot.Lists
	made  int
}

func newHistory(seed uint64) *history {
	h := &history{Rand: rand.New(rand.NewPCG(seed, 0))}
	for i := range 3 {
		h.lists.Nodes = append(h.lists.Nodes, snapshot.Node{ID: fmt.Sprint("node-", i), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), Ready: true})
	}
	return h
}

func (h *history) one(of ...string) string { return of[h.IntN(len(of))] }

func (h *history) host() string {
	return h.one("a.test", "b.test", "c.test", "*.d.test", "e.test", "f.test")
}

func (h *history) labels() map[string]string {
	set := make(map[string]string)
	add := func(chance int, name, value string) {
		if h.IntN(100) < chance {
			set["com.docker.lb."+name] = value
		}
	}
	add(85, "hosts", h.one(h.host(), h.host()+","+h.host()))
	add(90, "port", h.one("80", "8080", "none"))
	add(20, "context_root", h.one("/", "/x", "/x/y"))
	add(10, "context_root_rewrite", "true")
	add(10, "redirects", h.one("http", "https")+"://"+h.host()+","+h.one("http", "https")+"://"+h.host())
	add(20, "redirects", "http://"+h.one("r", "s", "t")+".test,http://"+h.one("r", "s", "t")+".test")
	add(15, "default_backend", "true")
	add(20, "ssl_cert", h.one("one", "two"))
	add(10, "ssl_only", "true")
	add(10, "ssl_passthrough", "true")
	add(10, "sticky_session_cookie", h.one("sid", "other"))
	add(20, "network", h.one("front", "back"))
	add(15, "backend_mode", h.one("vip", "task"))
	add(15, "service_cluster", h.one("east", "nowhere"))
	add(10, "websocket_endpoints", h.one("/ws", "/x/ws"))
	add(10, "weight", h.one("1", "3"))
	add(5, "nonsense", "1")
	return set
}

// happen lets one thing happen.
func (h *history) happen() {
	l := &h.lists
	// What was read is shared, so that only what is replaced may change.
	l.Services, l.Tasks, l.Nodes = slices.Clone(l.Services), slices.Clone(l.Tasks), slices.Clone(l.Nodes)
	switch h.IntN(12) {
	case 0, 1, 2:
		h.deploy()
	case 3:
		if i := h.IntN(len(l.Services) + 1); i < len(l.Services) {
			l.Services = slices.Delete(l.Services, i, i+1)
		}
	case 4, 5:
		if len(l.Services) > 0 {
			s := &l.Services[h.IntN(len(l.Services))]
			s.Version++
			switch h.IntN(3) {
			case 0:
				s.Spec.Labels = h.labels()
			case 1:
				s.Spec.Networks = toggled(s.Spec.Networks, "net-"+h.one("front", "back"), func(id *string) string { return *id })
			}
		}
	case 6:
		n := &l.Nodes[h.IntN(len(l.Nodes))]
		n.Ready = !n.Ready
	case 7:
		l.Networks = toggled(l.Networks, snapshot.Network{ID: "net-" + h.one("front", "back"), Driver: "overlay"}, func(n *snapshot.Network) string {
			n.Name = strings.TrimPrefix(n.ID, "net-")
			return n.ID
		})
	case 8:
		l.Secrets = toggled(l.Secrets, snapshot.Object{ID: "secret-" + h.one("one", "two")}, func(o *snapshot.Object) string {
			o.Name = strings.TrimPrefix(o.ID, "secret-")
			return o.ID
		})
	default:
		if len(l.Tasks) > 0 {
			t := &l.Tasks[h.IntN(len(l.Tasks))]
			t.Desired, t.State = snapshot.TaskRunning, snapshot.TaskState(h.IntN(2)+int(snapshot.TaskStarting))
			if h.IntN(3) == 0 {
				t.Desired = snapshot.TaskShutdown
			}
		}
	}
}

// toggled is a list with an object that was not in it, or without it.
func toggled[T any](list []T, object T, id func(*T) string) []T {
	key := id(&object)
	if i := slices.IndexFunc(list, func(o T) bool { return id(&o) == key }); i >= 0 {
		return slices.Delete(slices.Clone(list), i, i+1)
	}
	return append(slices.Clip(list), object)
}

func (h *history) deploy() {
	h.made++
	s := snapshot.Service{ID: fmt.Sprintf("%d-%d", h.IntN(10), h.made), CreatedAt: time.Unix(int64(h.IntN(50)), 0), Spec: snapshot.ServiceSpec{
		Name: fmt.Sprint("app-", h.made), Labels: h.labels(),
	}}
	for _, n := range []string{"net-front", "net-back"} {
		if h.IntN(2) == 0 {
			s.Spec.Networks = append(s.Spec.Networks, n)
			s.VirtualIPs = append(s.VirtualIPs, snapshot.VirtualIP{NetworkID: n, Addr: netip.MustParsePrefix("10.1.0.9/24")})
		}
	}
	for slot := range h.IntN(4) {
		t := snapshot.Task{
			ID: fmt.Sprintf("task-%d-%d", h.made, slot), ServiceID: s.ID, NodeID: fmt.Sprint("node-", h.IntN(3)), Slot: slot + 1,
			State: snapshot.TaskRunning, Desired: snapshot.TaskRunning,
		}
		if h.IntN(2) == 0 {
			t.Ports = []snapshot.Port{{Protocol: "tcp", Target: 80, Published: uint16(30000 + h.made), Mode: snapshot.PublishHost}}
		}
		for _, n := range s.Spec.Networks {
			t.Attachments = append(t.Attachments, snapshot.Attachment{NetworkID: n, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(h.made), byte(slot)})}})
		}
		h.lists.Tasks = append(h.lists.Tasks, t)
	}
	h.lists.Services = append(h.lists.Services, s)
}

func clustersThat(reachFront bool) []route.Cluster {
	main := route.Cluster{Attachable: []string{"net-front"}, Networks: []string{"net-back"}, Reserved: []string{"two"}}
	if reachFront {
		main.Networks = append(main.Networks, "net-front")
	}
	return []route.Cluster{main, {Name: "east", Networks: []string{"net-front"}}}
}

func TestATableDoesNotShowHowItCameAbout(t *testing.T) {
	for seed := range uint64(20) {
		h, memory := newHistory(seed), new(route.Memory)
		var snap *snapshot.Snapshot
		for step := range 120 {
			h.happen()
			snap = h.lists.Snapshot(snap)
			clusters := clustersThat(step > 90)
			tables, needs, problems := route.Build(snap, clusters)
			built, found := memory.Build(snap, clusters)
			for i := range built {
				if diff := cmp.Diff(&tables[i], built[i].Table, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
					t.Fatalf("seed %d, step %d, cluster %q: the table differs (-from nothing +from the one before):\n%s", seed, step, clusters[i].Name, diff)
				}
				if want := tables[i].Version(); built[i].Version != want {
					t.Fatalf("seed %d, step %d, cluster %q: the version is %s, want %s", seed, step, clusters[i].Name, built[i].Version, want)
				}
				if diff := cmp.Diff(needs[i], built[i].Needs); diff != "" {
					t.Fatalf("seed %d, step %d: networks (-want +got):\n%s", seed, step, diff)
				}
			}
			if diff := cmp.Diff(problems, found); diff != "" {
				t.Fatalf("seed %d, step %d: problems (-want +got):\n%s", seed, step, diff)
			}
		}
	}
}

func TestWhatATaskDoesNotChangeIsShared(t *testing.T) {
	h := newHistory(1)
	for range 100 {
		h.happen()
	}
	h.lists.Services = append(h.lists.Services, snapshot.Service{ID: "z", Spec: snapshot.ServiceSpec{Name: "z", Labels: labels("hosts", "z.test", "port", "80")}})
	for slot := range 2 {
		h.lists.Tasks = append(h.lists.Tasks, snapshot.Task{
			ID: fmt.Sprint("z", slot), ServiceID: "z", NodeID: "node-0", Slot: slot, State: snapshot.TaskRunning, Desired: snapshot.TaskRunning,
			Ports: []snapshot.Port{{Protocol: "tcp", Target: 80, Published: uint16(40000 + slot), Mode: snapshot.PublishHost}},
		})
	}
	var memory route.Memory
	snap := h.lists.Snapshot(nil)
	before, _ := memory.Build(snap, clustersThat(false))
	h.lists.Tasks = slices.Clone(h.lists.Tasks)
	h.lists.Tasks[len(h.lists.Tasks)-1].Desired = snapshot.TaskShutdown
	after, _ := memory.Build(h.lists.Snapshot(snap), clustersThat(false))
	was, is := before[0].Table, after[0].Table
	if before[0].Version == after[0].Version || len(is.Upstreams) != len(was.Upstreams) {
		t.Fatal("the table does not change with the task")
	}
	if &was.Hosts[0] != &is.Hosts[0] {
		t.Error("the hosts are copied though none has changed")
	}
	for i := range is.Upstreams {
		same := len(is.Upstreams[i].Endpoints) == 0 || len(was.Upstreams[i].Endpoints) > 0 && &was.Upstreams[i].Endpoints[0] == &is.Upstreams[i].Endpoints[0]
		if same == (is.Upstreams[i].Name == "z") {
			t.Errorf("endpoints of %s: shared is %t", is.Upstreams[i].Name, same)
		}
	}
	if after[1].Table != before[1].Table {
		t.Error("the other cluster's table is another one")
	}
}
