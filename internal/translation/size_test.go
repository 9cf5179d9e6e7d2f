package translation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/label"
)

// Whoever may create a service must not be able to fill the file alone.
func TestNoServiceGetsMoreThanTwoMebibytesOfTheFile(t *testing.T) {
	names := func(count int, name string) []string {
		list := make([]string, count)
		for i := range list {
			list[i] = fmt.Sprintf(name, i)
		}
		return list
	}
	// Below the longest root, so that each location has its path three times.
	root := "/" + strings.Repeat("r", 200)
	paths := names(64, root+"/"+strings.Repeat("p", 50)+"%02d")
	long := strings.Join([]string{strings.Repeat("h", 63), strings.Repeat("o", 63), strings.Repeat("s", 63), strings.Repeat("t", 50)}, ".")
	redirects := names(64, "http://r%02d."+long+",http://t."+long)
	for _, c := range []struct{ hosts, paths int }{{256, 1}, {4, 64}, {128, 2}} {
		labels := map[string]string{
			"hosts": strings.Join(names(c.hosts, "h%03d."+long), ","), "port": "80", "context_root": root, "context_root_rewrite": "true",
			"websocket_endpoints": strings.Join(paths[:c.paths], ","), "redirects": strings.Join(redirects, ";"),
			"ssl_backend": "true", "ssl_backend_tls_verify": "none", "ssl_cert": "both.pem",
		}
		swarm := fixture.NewSwarm(1).Secret("both.pem")
		prefixed := map[string]string{}
		for name, value := range labels {
			prefixed[label.Prefix+name] = value
		}
		got := translate(t, swarm.Service("greedy", prefixed).Task("greedy", 1, 1, fixture.HostPort(80, 30001)), nil, nil)
		if len(got.problemLines()) > 0 {
			t.Fatalf("%d hosts with %d paths: %.500s", c.hosts, c.paths, got.problemLines())
		}
		t.Logf("%d hosts with %d paths: %d KiB", c.hosts, c.paths, len(got.conf)>>10)
		if len(got.conf) > 2<<20 {
			t.Errorf("%d hosts with %d paths make %d bytes", c.hosts, c.paths, len(got.conf))
		}
	}
}
