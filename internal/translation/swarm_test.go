package translation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/label"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/wire"
)

// world is a Swarm and the networks of its proxies.
type world struct {
	swarm   *fixture.Swarm
	proxies []string
}

// parseWorld reads one statement a line:
//
//	network NAME               an overlay network
//	proxies NETWORK…           what the proxies are attached to
//	secret NAME [LABEL]        a secret; what those called unusable… hold is
//	service NAME [NETWORK…]    the labels below it are its own
//	  LABEL=VALUE
//	  vip NETWORK ADDRESS
//	  task PORT                a task with this host-mode port
//	  task NETWORK ADDRESS…    a task on networks
func parseWorld(t *testing.T, text string) world {
	t.Helper()
	w := world{swarm: fixture.NewSwarm(2)}
	var service string
	tasks := 0
	labels := map[string]map[string]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "network":
			w.swarm.Network(words[1])
		case words[0] == "proxies":
			for _, n := range words[1:] {
				w.proxies = append(w.proxies, "net-"+n)
			}
		case words[0] == "secret":
			w.swarm.Secret(words[1], words[2:]...)
		case words[0] == "service":
			service = words[1]
			labels[service] = map[string]string{}
			w.swarm.Service(service, labels[service], fixture.Joins(words[2:]...))
		case words[0] == "vip":
			w.swarm.VirtualIP(service, words[1], words[2])
		case words[0] == "task":
			tasks++
			w.swarm.Task(service, tasks, 1, taskPlace(t, labels[service], words[1:])...)
		default:
			name, value, found := strings.Cut(strings.TrimSpace(line), "=")
			if !found {
				t.Fatalf("what does %q mean?", line)
			}
			labels[service][label.Prefix+name] = value
		}
	}
	return w
}

func taskPlace(t *testing.T, labels map[string]string, words []string) (places []func(*snapshot.Task)) {
	t.Helper()
	if len(words) > 1 {
		for i := 0; i < len(words); i += 2 {
			places = append(places, fixture.On(words[i], words[i+1]))
		}
		return places
	}
	published, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	target, err := strconv.ParseUint(labels[label.Prefix+"port"], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return append(places, fixture.HostPort(uint16(target), uint16(published)))
}

// outcome is what comes out at the end.
type outcome struct {
	table    *route.Table
	problems []problem.Problem
	conf     []byte
	keys     []render.File
}

func newOutcome(table *route.Table, problems []problem.Problem, b render.Bundle) outcome {
	o := outcome{table: table, problems: problems}
	for _, f := range b.Files {
		if f.Sensitive {
			o.keys = append(o.keys, f)
		} else if f.Path == "/etc/nginx/nginx.conf" {
			o.conf = f.Data()
		}
	}
	return o
}

// credentials stands in for what an extension would have found: texts instead
// of keys, so that goldens never change, and none for names that say so.
func credentials(t *route.Table) render.Credentials {
	c := make(render.Credentials)
	for _, h := range t.Hosts {
		if h.Credential != nil && !strings.HasPrefix(h.Credential.Chain.Name, "unusable") {
			c[h.Name] = render.Pair{Chain: []byte("chain " + h.Credential.Chain.Name), Key: []byte("key " + h.Credential.Key.Name)}
		}
	}
	return c
}

// translate takes a Swarm all the way.
func translate(t testing.TB, swarm *fixture.Swarm, networks []string, config map[string]any) outcome {
	t.Helper()
	tables, _, problems := route.Build(swarm.Snapshot(), []route.Cluster{{Networks: networks}})
	data, err := proto.Marshal(wire.TableMessage(&tables[0]))
	if err != nil {
		t.Fatal(err)
	}
	var message interlockv1.Table
	if err := proto.Unmarshal(data, &message); err != nil {
		t.Fatal(err)
	}
	arrived, err := wire.Table(&message)
	if err != nil {
		t.Fatalf("the table is refused: %v", err)
	}
	if arrived.Version() != tables[0].Version() {
		t.Fatal("the table changes on its way")
	}
	// What is divided, and that nothing is lost by it, is tested beside the renderer.
	renderer := nginx.Renderer{ServerInfo: "interlock/test", Split: render.Split{Whole: 1 << 20}}
	options := map[string]any{"User": "www-data"}
	for k, v := range config {
		options[k] = v
	}
	bundle, err := renderer.Render(arrived, render.Parameters{Port: 18080, SSLPort: 18443, PublishedSSLPort: 8443, ConfigPath: "/etc/nginx/nginx.conf", Config: options}, credentials(arrived))
	if err != nil {
		t.Fatalf("the table cannot be rendered: %v", err)
	}
	return newOutcome(&tables[0], problems, bundle)
}

// variable returns the part of a file that depends on the table.
func (o outcome) variable(t testing.TB) []byte {
	t.Helper()
	_, rest, found := bytes.Cut(o.conf, []byte("$upstream_header_time always;\n"))
	if !found {
		t.Fatal("where does the file's variable part begin?")
	}
	// The last server is the one of the token, which depends on all else.
	rest, _, found = bytes.Cut(rest, []byte("    server {\n        listen \"unix:/run/interlock/status.sock"))
	if !found {
		t.Fatal("where does the file's variable part end?")
	}
	// Layer 4 stands before it.
	if _, stream, has := bytes.Cut(o.conf, []byte("\nstream {\n")); has {
		stream, _, _ = bytes.Cut(stream, []byte("\n}\n"))
		return slices.Concat([]byte("stream {\n"), stream, []byte("\n}\n"), rest)
	}
	return rest
}

func (o outcome) tableJSON(t testing.TB) []byte {
	t.Helper()
	data, err := json.MarshalIndent(o.table, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func (o outcome) problemLines() []byte {
	var b bytes.Buffer
	for _, p := range o.problems {
		fmt.Fprintf(&b, "%s: %s\n", p.Kind, p)
	}
	return b.Bytes()
}

// victim is a service that all tests of hostile labels look after.
func victim() *fixture.Swarm {
	swarm := fixture.NewSwarm(2).Network("front").Network("tenant-b-net").Secret("interlock.ca.key", "com.docker.interlock.seal")
	for _, name := range []string{"a.both", "shop.cert", "shop.key", "tenant-b.cert", "tenant-b.key", "not-a-pem", "fat-secret-490k-1"} {
		swarm.Secret(name)
	}
	return swarm.
		Service("victim-a", map[string]string{"com.docker.lb.hosts": "a.example.test", "com.docker.lb.port": "8080", "com.docker.lb.ssl_cert": "a.both"}).
		Task("victim-a", 1, 1, fixture.HostPort(8080, 30000))
}
