package proxies

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkKeepAlive is the case that comes most often: many requests over each
// connection, and short answers.
func BenchmarkKeepAlive(b *testing.B) {
	for _, secure := range []bool{false, true} {
		for _, connections := range []int{64, 512} {
			c := comparison{name: "HTTP/1.1, " + fmt.Sprint(connections), by: cpuTime, target: "≤ 1.0 × nginx, ≤ 0.25 × Caddy"}
			c.text = fmt.Sprintf("HTTP/1.1 keep-alive, 100 B, %d connections", connections)
			who := plain
			if secure {
				c.name, c.text, c.target, who = "TLS 1.3, "+fmt.Sprint(connections), c.text+", TLS 1.3", "≤ 1.0 × nginx", terminating
			}
			b.Run(slug(c.name), func(b *testing.B) {
				c.turns(b, enter(b, setScene(b, secure), who), withWrk(connections, path, ""))
			})
		}
	}
}

// BenchmarkNewConnection has a whole handshake for each request.
func BenchmarkNewConnection(b *testing.B) {
	c := comparison{name: "new TLS", text: "a new TLS 1.3 connection a request, P-256, 16 at a time", by: cpuTime, target: "≤ 0.8 × nginx"}
	c.turns(b, enter(b, setScene(b, true), terminating), withClient(job{Does: "fresh", Connections: 16}))
}

// BenchmarkLarge passes 1 MB each way.
func BenchmarkLarge(b *testing.B) {
	for _, secure := range []bool{false, true} {
		who, suffix := plain, ""
		if secure {
			who, suffix = terminating, ", TLS"
		}
		b.Run(slug("answers"+suffix), func(b *testing.B) {
			c := comparison{name: "1 MB answers" + suffix, text: "answers of 1 MB, 16 connections" + suffix, by: cpuTime, target: "≤ 1.1 × nginx"}
			c.turns(b, enter(b, setScene(b, secure), who), withWrk(16, "/large", ""))
		})
		b.Run(slug("uploads"+suffix), func(b *testing.B) {
			c := comparison{name: "1 MB uploads" + suffix, text: "uploads of 1 MB, 16 connections" + suffix, by: cpuTime, target: "≤ 1.1 × nginx"}
			c.turns(b, enter(b, setScene(b, secure), who), withWrk(16, "/upload", `wrk.method = "POST" wrk.body = string.rep("x", 1048576)`))
		})
	}
}

// BenchmarkHTTP2 is over TLS, as browsers speak it.
func BenchmarkHTTP2(b *testing.B) {
	c := comparison{name: "HTTP/2", text: "HTTP/2, 100 B, 64 connections of 16 streams", by: cpuTime, target: "≤ 2 × nginx, ≤ 0.6 × Caddy"}
	c.turns(b, enter(b, setScene(b, true), terminating), withH2load(64, 16))
}

// BenchmarkHalfLoad asks all at half of the rate that nginx can do at most.
func BenchmarkHalfLoad(b *testing.B) {
	all := enter(b, setScene(b, false), plain)
	most := withWrk(64, path, "")(b, all[0], loadFor)
	rate := float64(most.Requests) / most.Took.Seconds() / 2
	c := comparison{name: "p99 at half load", text: fmt.Sprintf("%.0f requests a second, which is half of nginx's most, 64 connections", rate), by: p99, target: "p99 ≤ 1.2 × nginx"}
	c.turns(b, all, withClient(job{Does: "paced", Connections: 64, Rate: rate}))
}

// BenchmarkHosts asks for any of 10 hosts, and of 10,000.
func BenchmarkHosts(b *testing.B) {
	s := setScene(b, false)
	var all []*process
	for _, n := range []int{10, 10_000} {
		s.hosts = n
		p := startNative(b, s)
		p.name = fmt.Sprintf("native, %d hosts", n)
		p.hosts = n
		all = append(all, p)
	}
	ask := func(b *testing.B, p *process, d time.Duration) outcome {
		return withWrk(64, path, fmt.Sprintf(anyHost, p.hosts))(b, p, d)
	}
	c := comparison{name: "10,000 hosts", text: "any of 10 hosts, any of 10,000 hosts, 64 connections", by: cpuTime, target: "within 5 %"}
	c.turns(b, all, ask)
}

// anyHost has wrk ask for the hosts of tableFor.
const anyHost = `
local requests = {}
init = function(args)
	for i = 1, %d do
		requests[i] = wrk.format(nil, nil, {["Host"] = string.format("app-%%05d.example.com", i)})
	end
end
request = function() return requests[math.random(#requests)] end
`

// enter starts the contenders.
func enter(b *testing.B, s *scene, who []contender) (all []*process) {
	for _, c := range who {
		all = append(all, c.start(b, s))
	}
	return all
}

func slug(name string) string { return strings.NewReplacer(", ", "-", " ", "-", "/", "").Replace(name) }
