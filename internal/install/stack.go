package install

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/interlock-lb/interlock/internal/docker"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// What the stack's parts are called.
const (
	stackName   = "interlock"
	coreService = "interlock_core" // as `docker stack deploy` calls it too
	// standaloneService is all that there is of a standalone, but for its volume.
	standaloneService = "interlock_standalone"
	standaloneVolume  = "interlock-standalone"
	extensionName     = "interlock-ext"
	proxyName         = "interlock-proxy"
	authorityName     = "interlock-authority"
	networkName       = "interlock"
	configPrefix      = "interlock-config-"

	labelStack = "com.docker.stack.namespace"
	// labelDigest tells the stack that a core service was made from.
	labelDigest = "com.docker.interlock.installation"
	// restartDelay is how long Swarm waits before it starts what has died again;
	// the stack files have it too.
	restartDelay = time.Second
	// roleConfiguration marks the Docker configs that hold a config.toml.
	roleConfiguration = "configuration"
)

//go:embed stack.yml.tmpl
var stackText string

//go:embed config.toml.tmpl
var configText string

//go:embed standalone.yml.tmpl
var standaloneText string

var (
	standaloneTemplate = template.Must(template.New("standalone").Parse(standaloneText))
	stackTemplate      = template.Must(template.New("stack").Parse(stackText))
	configTemplate     = template.Must(template.New("config").Parse(configText))
)

// Stack is what is installed.
type Stack struct {
	options Options
	// Name is what its files are called, without their endings.
	Name string
	// File is the stack file, Config the config.toml that it names; empty: none.
	File, Config string
	configName   string
	digest       string
}

// NewStack writes the stack for the options, or says which of them are wrong.
func NewStack(o Options) (*Stack, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Stack{options: o, Name: o.name()}
	words := map[string]any{
		"Name": s.Name, "LoadBalancers": o.LoadBalancers, "Proxies": o.Proxies, "Port": o.Port, "SSLPort": o.SSLPort,
		"Core": s.image("interlock"), "Extension": s.image("interlock-extension"), "Proxy": s.proxyImage(), "Native": o.native(),
		"Constraint": s.constraint(), "OverlayCore": o.overlayCore(), "PublishMode": o.publishMode(),
	}
	if o.standalone() {
		return s, s.write(standaloneTemplate, words)
	}
	var err error
	if s.Config, err = fill(configTemplate, words); err != nil {
		return nil, err
	}
	s.configName = configPrefix + digest(s.Config)
	words["ConfigName"] = s.configName
	return s, s.write(stackTemplate, words)
}

// write fills in the stack file, with the digest of what it is without one.
func (s *Stack) write(t *template.Template, words map[string]any) error {
	unmarked, err := fill(t, words)
	if err != nil {
		return err
	}
	s.digest = digest(unmarked)
	words["Digest"] = s.digest
	s.File, err = fill(t, words)
	return err
}

func fill(t *template.Template, words map[string]any) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, words); err != nil {
		return "", fmt.Errorf("writing the stack: %w", err)
	}
	return b.String(), nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

func (s *Stack) image(name string) string {
	return s.options.ImagePrefix + name + ":" + s.options.Version
}

func (s *Stack) proxyImage() string {
	if s.options.native() {
		return s.image("interlock-proxy-native")
	}
	return s.image("interlock-proxy")
}

// parts are the services that run when all is there; the last is the one that
// clients talk to.
func (s *Stack) parts() []string {
	if s.options.standalone() {
		return []string{standaloneService}
	}
	return []string{coreService, extensionName, proxyName}
}

func (s *Stack) front() string {
	parts := s.parts()
	return parts[len(parts)-1]
}

func (s *Stack) constraint() string { return strings.Replace(s.options.LoadBalancers, "=", "==", 1) }

// deployment is the core's service as the stack file has it.
func (s *Stack) deployment(config, authority snapshot.Object, network string) docker.Deployment {
	one := uint64(1)
	spec := snapshot.ServiceSpec{
		Name: coreService, Image: s.image("interlock"),
		Args:        []string{"run", "-c", "/config.toml", "--authority", "/run/secrets/authority.pem"},
		Labels:      map[string]string{labelStack: stackName, "com.docker.stack.image": s.image("interlock"), labelDigest: s.digest},
		Replicas:    &one,
		Constraints: []string{"node.role==manager"},
		Mounts:      []snapshot.Mount{{Type: "bind", Source: "/var/run/docker.sock", Target: "/var/run/docker.sock"}},
		Configs:     []snapshot.FileRef{{ID: config.ID, Name: config.Name, Target: "/config.toml", Mode: 0o444}},
		Secrets:     []snapshot.FileRef{{ID: authority.ID, Name: authority.Name, Target: "authority.pem", Mode: 0o400}},
		ReadOnly:    true, CapabilityDrop: []string{"ALL"},
		ContainerLabels: map[string]string{labelStack: stackName},
		UpdateOrder:     "start-first", RestartDelay: new(restartDelay),
	}
	if s.options.overlayCore() {
		spec.Networks = []string{network}
	} else {
		spec.Ports = []snapshot.Port{{Protocol: "tcp", Target: 8080, Mode: snapshot.PublishHost}}
	}
	return docker.Deployment{
		Spec: spec, MemoryLimit: 256 << 20, CPULimit: 1,
		Health:   health(),
		RollBack: true, Monitor: 10 * time.Second,
	}
}

// health is asked of the core, or with flags of others.
func health(flags ...string) docker.Health {
	return docker.Health{
		Command: append([]string{"/interlock", "healthcheck"}, flags...), Interval: 5 * time.Second, Timeout: 3 * time.Second,
		StartPeriod: 30 * time.Second, Retries: 3,
	}
}
