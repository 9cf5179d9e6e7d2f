package snapshot_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

func TestDefaultsAreSpelledOneWay(t *testing.T) {
	var none time.Duration
	restartDelay := 5 * time.Second
	spelled := snapshot.ServiceSpec{
		Labels: map[string]string{}, Env: map[string]string{}, ContainerLabels: map[string]string{},
		Args: []string{}, Constraints: []string{}, Preferences: []string{}, Networks: []string{}, CapabilityDrop: []string{}, CapabilityAdd: []string{}, Sysctls: map[string]string{},
		Mounts:      []snapshot.Mount{},
		Ports:       []snapshot.Port{{Protocol: "tcp", Target: 80, Mode: snapshot.PublishIngress}},
		Secrets:     []snapshot.FileRef{{Name: "key", UID: "0", GID: "0"}},
		Configs:     []snapshot.FileRef{},
		UpdateOrder: "stop-first",
		UpdateDelay: &none, UpdateMonitor: &none, UpdateFailureAction: "pause",
		RestartDelay: &restartDelay,
	}
	implied := snapshot.ServiceSpec{
		Ports:   []snapshot.Port{{Target: 80}},
		Secrets: []snapshot.FileRef{{Name: "key"}},
	}
	if diff := cmp.Diff(implied.Normalized(), spelled.Normalized()); diff != "" {
		t.Errorf("the normal forms differ (-implied +spelled):\n%s", diff)
	}
}

func TestListsWithoutAnOrderAreSorted(t *testing.T) {
	given := snapshot.ServiceSpec{
		Ports:    []snapshot.Port{{Target: 443}, {Target: 80}},
		Networks: []string{"net-b", "net-a"},
		Configs:  []snapshot.FileRef{{Target: "/b"}, {Target: "/a"}},
		Args:     []string{"z", "a"},
	}
	want := snapshot.ServiceSpec{
		Ports: []snapshot.Port{
			{Target: 80, Protocol: "tcp", Mode: snapshot.PublishIngress},
			{Target: 443, Protocol: "tcp", Mode: snapshot.PublishIngress},
		},
		Networks: []string{"net-a", "net-b"},
		Configs:  []snapshot.FileRef{{Target: "/a"}, {Target: "/b"}},
		Args:     []string{"z", "a"},
	}
	if diff := cmp.Diff(want, given.Normalized()); diff != "" {
		t.Errorf("unexpected normal form (-want +got):\n%s", diff)
	}
	if given.Networks[0] != "net-b" || given.Ports[0].Target != 443 {
		t.Error("Normalized changed the specification that it was given")
	}
}

func TestImagesAreSpelledAsDockerGivesThemBack(t *testing.T) {
	for given, want := range map[string]string{
		"":                               "",
		"interlock":                      "interlock:latest",
		"interlock:dev":                  "interlock:dev",
		"registry:5000/interlock":        "registry:5000/interlock:latest",
		"registry:5000/interlock:dev":    "registry:5000/interlock:dev",
		"docker.io/library/nginx":        "nginx:latest",
		"index.docker.io/library/nginx":  "nginx:latest",
		"docker.io/acme/app:2":           "acme/app:2",
		"interlock@sha256:0123456789abc": "interlock@sha256:0123456789abc",
	} {
		if got := (snapshot.ServiceSpec{Image: given}).Normalized().Image; got != want {
			t.Errorf("image %q: got %q, want %q", given, got, want)
		}
	}
}
