// Package settings reads config.toml, the operator's file: which Docker API
// the core reads, and which extension and proxy services it keeps.
//
// Every key is one entry of a table in this package. The tables drive the
// reading, the checks, the "did you mean" and docs/configuration.md alike.
// All that is wrong with a file is reported in one go, with line and column.
//
// The package does not watch the file, asks nothing of Docker and renders
// nothing: whether an image or a network exists is found out by those who use it.
package settings

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// maxSize is the greatest size of a file in bytes. Swarm's own limit for a
// config object lies just below it.
const maxSize = 1 << 20

// Settings is a valid config.toml with all defaults filled in. Whoever
// receives it must not change it.
type Settings struct {
	// ListenAddr is the host:port of the core's gRPC API; the host may be empty.
	ListenAddr string
	// DockerURL is a unix, tcp, http or https URL. With an http URL there are
	// no TLS files; with a unix URL they have no effect.
	DockerURL string
	// TLSCACert, TLSCert and TLSKey are absolute paths or empty. TLSCert and
	// TLSKey are given together or not at all.
	TLSCACert, TLSCert, TLSKey string
	// AllowInsecure accepts any certificate of the Docker API.
	AllowInsecure bool
	// PollInterval is from 100 ms to one hour.
	PollInterval time.Duration
	// EndpointOverride is a host:port; empty: the core finds its own address.
	EndpointOverride string
	// Extensions are sorted by name; there is at least one. No two of them
	// have the same ServiceCluster or the same service name.
	Extensions []Extension

	notices []string
}

// Extension is one [Extensions.NAME]: an extension service and the proxy
// service that it renders for.
type Extension struct {
	Name                    string
	Image                   string
	Args                    []string
	Labels, ContainerLabels map[string]string
	Constraints             []string
	// PlacementPreferences are spread descriptors such as "node.labels.zone".
	PlacementPreferences []string
	// ServiceName is empty where Swarm picks a name.
	ServiceName string
	// Networks are the names of the only networks that the proxy may be
	// attached to; nil: every network that an app needs, empty: none.
	Networks []string

	ProxyImage                        string
	ProxyArgs                         []string
	ProxyLabels, ProxyContainerLabels map[string]string
	ProxyServiceName                  string // empty: Swarm picks one
	ProxyConstraints                  []string
	ProxyPlacementPreferences         []string // as PlacementPreferences
	ProxyConfigPath                   string   // absolute
	ProxyReplicas                     uint64   // at most 10000
	ProxyStopSignal                   string   // such as "SIGQUIT"; empty: the image's own
	ProxyStopGracePeriod              *time.Duration
	ProxyUpdateDelay                  *time.Duration
	ServiceCluster                    string // empty: the default cluster
	PublishMode                       snapshot.PublishMode
	PublishedPort, PublishedSSLPort   uint16 // 0: not published
	TargetPort, TargetSSLPort         uint16 // never 0, never equal
	Template                          string // name of a Docker config, or empty
	HitlessServiceUpdate              *bool
	ConfigImage, ConfigServiceName    string // without effect
	// Config holds the keys of [Extensions.NAME.Config] that were given and
	// that this kind of proxy uses, in the spelling of the key table. Values are string, int64, bool or []any
	// of strings; which of them a key has is fixed, whatever way it was written.
	Config map[string]any
}

// Load reads and parses the file at path. The error is of type Faults where
// the file could be read but is not valid.
func Load(path string) (*Settings, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads the text of a config.toml; name is what faults call the file.
// The error is always of type Faults and lists everything that is wrong.
func Parse(name string, data []byte) (*Settings, error) {
	r := newReader(name, data)
	if len(data) > maxSize {
		r.fault(0, "", "the file is larger than 1 MiB, which is the most that is read")
		return nil, r.result()
	}
	root, complete := readDocument(r)
	s := readSettings(r, root, complete)
	if faults := r.result(); len(faults) > 0 {
		return nil, faults
	}
	return s, nil
}

// Notices says which of the keys given have no effect, and why: one sentence
// each, sorted.
func (s *Settings) Notices() []string { return s.notices }
