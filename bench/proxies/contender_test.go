package proxies

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
)

// hostName is what clients over TLS ask for: the only name that leads here
// wherever this runs.
const hostName = "localhost"

// scene is what the contenders of a case find.
type scene struct {
	apps       []string
	secure     bool   // clients speak TLS
	chain, key []byte // PEM, of hostName
	hosts      int    // see job
}

// contender is a proxy that takes part.
type contender struct {
	name  string
	start func(b *testing.B, s *scene) *process
}

var (
	nginx   = contender{"nginx", startNginx}
	haproxy = contender{"HAProxy", startHAProxy}
	caddy   = contender{"Caddy", startCaddy}
	relay   = contender{"relay", startRelay}
	native  = contender{"native", startNative}
)

// terminating are the contenders that speak TLS. nginx is first: the others are
// measured by it.
var terminating = []contender{nginx, haproxy, caddy, native}

// plain are all.
var plain = []contender{nginx, haproxy, caddy, relay, native}

// setScene starts the apps.
func setScene(b *testing.B, secure bool) *scene {
	s := &scene{apps: freePorts(b, 3), secure: secure}
	if secure {
		s.chain, s.key = fixture.NewAuthority(b).Issue(b, []string{hostName})
	}
	startApps(b, s.apps)
	return s
}

// file writes a file for a program that runs in this benchmark.
func file(b *testing.B, name, text string) string {
	path := filepath.Join(b.TempDir(), name)
	check(b, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// certificateFiles are the chain and the key, and both in one.
func (s *scene) certificateFiles(b *testing.B) (chain, key, both string) {
	return file(b, "chain.pem", string(s.chain)), file(b, "key.pem", string(s.key)), file(b, "both.pem", string(s.chain)+string(s.key))
}

func (s *scene) scheme() string {
	if s.secure {
		return "https"
	}
	return "http"
}
