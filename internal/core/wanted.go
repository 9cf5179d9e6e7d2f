package core

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/wire"
)

// What the core agrees on with the processes in the services that it keeps.
const (
	// AgentPort is where a proxy's agent listens, inside its container. It is
	// published in host mode on a port that the engine picks.
	AgentPort = 7480
	// IdentityFile is where extensions and proxies find their identity.
	IdentityFile = render.MountedDir + "/" + identityTarget
	// StateFolder is where an agent keeps the last good bundle; a volume.
	StateFolder = "/var/lib/interlock"
	// EnvCore tells an extension where the core is, as HOST:PORT.
	EnvCore = "INTERLOCK_CORE"
	// EnvConfigPath tells an agent where the proxy's configuration stands.
	EnvConfigPath = "INTERLOCK_CONFIG_PATH"
	// EnvAgent set to NoAgent makes our own proxy image one without an agent:
	// the configuration comes with the container, and none is taken from elsewhere.
	EnvAgent = "INTERLOCK_AGENT"
	NoAgent  = "none"

	// identityTarget is the name of IdentityFile below /run/secrets.
	identityTarget = "interlock-identity"
	// extensionUser is the number of the user in our image for extensions. The
	// apps' keys are for nobody else.
	extensionUser = "65532"
	// memorySize has room for the keys of two bundles of the greatest size, since
	// those of the one before stay until the next one is served.
	memorySize = 2 * wire.MaxMessage
)

// restartDelay is how long Swarm waits before it starts the next task in the place
// of one that has died: on a load balancer's node nobody serves meanwhile. One that
// dies at once is started again as often, which costs a node little.
const restartDelay = time.Second

// extensionSpec is the extension service that the configuration asks for.
func extensionSpec(e settings.Extension, here place, identity snapshot.Object) snapshot.ServiceSpec {
	one := uint64(1)
	return snapshot.ServiceSpec{
		Name: serviceName(e.ServiceName, e, plan.RoleExtension), Image: e.Image, Args: e.Args,
		Labels: e.Labels, ContainerLabels: e.ContainerLabels,
		Constraints: e.Constraints, Preferences: e.PlacementPreferences,
		Replicas: &one,
		Secrets:  []snapshot.FileRef{identityRef(identity)},
		// Rendering goes on while a new task starts.
		UpdateOrder: "start-first", RestartDelay: new(restartDelay),
		// An extension opens no file but its own secrets, and none to write.
		ReadOnly: true, CapabilityDrop: []string{"ALL"},
		Env:      map[string]string{EnvCore: here.endpoint},
		Networks: here.networks,
	}
}

// proxySpec is the proxy service that the configuration asks for. Its root file
// system stays writable and its capabilities are the engine's, and for nginx one more:
// which of them a proxy needs is its image's affair, and as ours is not root nothing
// in it has any, but the agent that one.
func proxySpec(e settings.Extension, identity snapshot.Object) snapshot.ServiceSpec {
	spec := anyProxySpec(e)
	if e.Nginx() {
		noticeSilence(&spec)
	}
	spec.Ports = append(spec.Ports, snapshot.Port{Protocol: "tcp", Target: AgentPort, Mode: snapshot.PublishHost})
	spec.Mounts = []snapshot.Mount{{Type: "volume", Source: volumeName(e), Target: StateFolder}, keyMemory()}
	spec.Secrets = []snapshot.FileRef{identityRef(identity)}
	return spec
}

// noticeSilence lets an nginx notice that an app's machine is gone, as the native proxy
// does by itself and as fast. The agent ends connections on which it acknowledges
// nothing. Where it owes nothing the kernel asks it every second, but only on
// connections for which nginx wants that: those to apps.
func noticeSilence(spec *snapshot.ServiceSpec) {
	spec.CapabilityAdd = []string{"CAP_NET_ADMIN"}
	spec.Sysctls = map[string]string{
		"net.ipv4.tcp_keepalive_time": "1", "net.ipv4.tcp_keepalive_intvl": "1", // seconds
		"net.ipv4.tcp_keepalive_probes": "2",
	}
}

// What holds for the updates of proxies without an agent, which each new bundle
// causes, unless the operator says otherwise.
const (
	// agentlessDelay is long enough for a proxy that does not take its
	// configuration to be dead before the next one is replaced: Swarm counts a
	// task as running as soon as its process has started.
	agentlessDelay = 5 * time.Second
	// agentlessMonitor leaves a slow machine the time for that too.
	agentlessMonitor = 10 * time.Second
)

// agentlessSpec is the proxy service of a stock image, whose configs are added to
// it. One that its proxies cannot run with is taken back by Swarm.
func agentlessSpec(e settings.Extension) snapshot.ServiceSpec {
	spec := anyProxySpec(e)
	spec.Env[EnvAgent] = NoAgent
	delay, monitor := agentlessDelay, agentlessMonitor
	if spec.UpdateDelay == nil {
		spec.UpdateDelay = &delay
	}
	spec.UpdateMonitor, spec.UpdateFailureAction = &monitor, "rollback"
	if e.PublishMode == snapshot.PublishIngress {
		// In host mode the ports of the two would collide.
		spec.UpdateOrder = "start-first"
	}
	return spec
}

// anyProxySpec is what proxies with an agent and without one have in common.
func anyProxySpec(e settings.Extension) snapshot.ServiceSpec {
	replicas := e.ProxyReplicas
	return snapshot.ServiceSpec{
		Name: serviceName(e.ProxyServiceName, e, plan.RoleProxy), Image: e.ProxyImage, Args: e.ProxyArgs,
		Labels: e.ProxyLabels, ContainerLabels: e.ProxyContainerLabels,
		Constraints: e.ProxyConstraints, Preferences: e.ProxyPlacementPreferences,
		Replicas:   &replicas,
		Env:        map[string]string{EnvConfigPath: e.ProxyConfigPath},
		Ports:      trafficPorts(e),
		StopSignal: e.ProxyStopSignal, StopGracePeriod: e.ProxyStopGracePeriod, UpdateDelay: e.ProxyUpdateDelay,
		RestartDelay: new(restartDelay),
	}
}

// keyMemory is where the agent keeps keys. Docker gives a tmpfs to root alone,
// and images differ in the user they run as: so anybody in the container may
// make a folder in it, and the agent makes one that is for itself only.
func keyMemory() snapshot.Mount {
	return snapshot.Mount{Type: "tmpfs", Target: path.Dir(render.SensitiveDir), TmpfsSize: memorySize, TmpfsMode: 0o1777}
}

func trafficPorts(e settings.Extension) []snapshot.Port {
	var ports []snapshot.Port
	for _, p := range [][2]uint16{{e.TargetPort, e.PublishedPort}, {e.TargetSSLPort, e.PublishedSSLPort}} {
		if target, published := p[0], p[1]; target != 0 && published != 0 {
			ports = append(ports, snapshot.Port{Protocol: "tcp", Target: target, Published: published, Mode: e.PublishMode})
		}
	}
	return ports
}

// serviceName picks a name where the configuration has none: services are
// known by their names.
func serviceName(configured string, e settings.Extension, role plan.Role) string {
	if configured != "" {
		return configured
	}
	return fmt.Sprintf("interlock-%s-%s", role, unique(e.Name))
}

func volumeName(e settings.Extension) string { return "interlock-proxy-" + unique(e.Name) }

// unique makes of an extension's name one that Docker allows for anything, and
// that no other extension's name is made into.
func unique(name string) string {
	if plain(name) == name && len(name) <= 32 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%.32s-%x", plain(name), sum[:4])
}

// plain keeps what Docker allows in names of any kind.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
}

// identityRef puts an identity where the process finds it. Every user inside
// the container may read it, as images differ in the user they run as.
func identityRef(o snapshot.Object) snapshot.FileRef {
	return snapshot.FileRef{ID: o.ID, Name: o.Name, Target: identityTarget, Mode: 0o444}
}

// reservedSecrets are the names of secrets that no app may name, as what it
// names is read by extensions: the place of an identity, and what the core
// itself has, such as the authority.
func reservedSecrets(snap *snapshot.Snapshot, here place) []string {
	names := []string{identityTarget}
	if own := snap.Service(here.service); own != nil {
		for _, ref := range own.Spec.Secrets {
			names = append(names, ref.Name)
		}
	}
	return names
}

func parameters(e settings.Extension) render.Parameters {
	return render.Parameters{
		Port: e.TargetPort, SSLPort: e.TargetSSLPort, PublishedSSLPort: e.PublishedSSLPort,
		ConfigPath: e.ProxyConfigPath, Agentless: !e.Hitless(), MountedCredentials: !e.Hitless(), Config: e.Config,
	}
}

func fingerprint(p render.Parameters) string {
	// Parameters hold only what JSON can say; maps are encoded in key order.
	encoded, _ := json.Marshal(p)
	return string(encoded)
}

// identityName is the name that a service's processes are known by.
func identityName(e settings.Extension, role plan.Role) pki.Name {
	if role == plan.RoleExtension {
		return pki.Name{Role: pki.RoleExtension, Cluster: e.ServiceCluster}
	}
	return pki.Name{Role: pki.RoleProxy, Cluster: e.ServiceCluster}
}
