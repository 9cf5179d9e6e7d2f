package proxies

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
)

// loadFor is how long a contender is loaded at a time.
const loadFor = 2 * time.Second

// path is what the apps answer with 100 bytes.
const path = "/path/of/usual/length?with=a&query=too"

// fields are what a browser sends.
var fields = []string{
	"User-Agent: bench/1.0 (a client of usual length)", "Accept: text/html,application/json;q=0.9,*/*;q=0.8",
	"Accept-Language: en-GB,en;q=0.5", "Accept-Encoding: gzip, deflate", "Cookie: session=0123456789abcdef",
}

func withFields() (args []string) {
	for _, f := range fields {
		args = append(args, "-H", f)
	}
	return args
}

// outcome is what clients have seen.
type outcome struct {
	Requests, Failed int
	Took             time.Duration
	P50, P99         time.Duration
}

// load asks a process for a while.
type load func(b *testing.B, p *process, d time.Duration) outcome

var (
	wrkRequests  = regexp.MustCompile(`(\d+) requests in ([\d.]+\w+),`)
	wrkQuantile  = regexp.MustCompile(`(?m)^\s+(50|99)%\s+([\d.]+\w+)$`)
	wrkErrors    = regexp.MustCompile(`(?m)(Socket errors|Non-2xx).*$`)
	h2Requests   = regexp.MustCompile(`requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded`)
	h2FinishedIn = regexp.MustCompile(`finished in ([\d.]+\w+),`)
)

// loader is a program that loads a process for d. It is ended where it does not end:
// h2load has hung on a busy machine.
func loader(d time.Duration, program string, args ...string) *exec.Cmd {
	limit := strconv.Itoa(int((d + patience).Seconds()))
	return onCore(clientCore, "timeout", append([]string{"--kill-after=5", limit, program}, args...)...)
}

// withWrk keeps connections open and asks over each as soon as it has an answer;
// script is in Lua, and may be empty.
func withWrk(connections int, path, script string) load {
	return func(b *testing.B, p *process, d time.Duration) outcome {
		args := append([]string{fixture.Program(b, "wrk"), "-t1", "-c" + strconv.Itoa(connections), "-d" + d.String(), "--latency", "--timeout", "10s"}, withFields()...)
		if script != "" {
			args = append(args, "-s", file(b, "wrk.lua", script))
		}
		out, err := loader(d, args[0], append(args[1:], p.url+path)...).CombinedOutput()
		if fault := wrkErrors.Find(out); err != nil || fault != nil {
			b.Fatalf("%s: not all requests were answered: %v\n%s", p.name, err, out)
		}
		total := wrkRequests.FindSubmatch(out)
		o := outcome{Requests: number(b, total[1]), Took: duration(b, total[2])}
		for _, q := range wrkQuantile.FindAllSubmatch(out, -1) {
			if string(q[1]) == "50" {
				o.P50 = duration(b, q[2])
			} else {
				o.P99 = duration(b, q[2])
			}
		}
		return o
	}
}

// withH2load speaks HTTP/2.
func withH2load(connections, streams int) load {
	return func(b *testing.B, p *process, d time.Duration) outcome {
		log := filepath.Join(b.TempDir(), "log")
		args := append([]string{"-t1", "-c" + strconv.Itoa(connections), "-m" + strconv.Itoa(streams), "-D" + strconv.Itoa(int(d.Seconds())), "--log-file=" + log}, withFields()...)
		out, err := loader(d, fixture.Program(b, "h2load"), append(args, p.url+path)...).CombinedOutput()
		if err != nil {
			b.Fatalf("%s: h2load: %v\n%s", p.name, err, out)
		}
		total := h2Requests.FindSubmatch(out)
		o := outcome{Requests: number(b, total[3]), Took: duration(b, h2FinishedIn.FindSubmatch(out)[1])}
		if o.Failed = number(b, total[2]) - o.Requests; o.Failed > 0 || o.Requests == 0 {
			b.Fatalf("%s: not all requests were answered:\n%s", p.name, out)
		}
		took := h2Latencies(b, log)
		o.P50, o.P99 = quantile(took, 0.5), quantile(took, 0.99)
		return o
	}
}

// h2Latencies reads the log of h2load: when, status, and how long in µs.
func h2Latencies(b *testing.B, path string) (took []time.Duration) {
	f, err := os.Open(path)
	check(b, err)
	defer f.Close()
	lines := csv.NewReader(f)
	lines.Comma = '\t'
	all, err := lines.ReadAll()
	check(b, err)
	for _, line := range all {
		took = append(took, time.Duration(number(b, line[2]))*time.Microsecond)
	}
	return took
}

// withClient loads with a client of this program.
func withClient(j job) load {
	return func(b *testing.B, p *process, d time.Duration) outcome {
		j.Addr, j.For, j.Secure = p.addr, d, p.secure()
		o := j.ask(b)
		if o.Failed > 0 || o.Requests == 0 {
			b.Fatalf("%s: %d of %d requests were not answered", p.name, o.Failed, o.Requests)
		}
		return o
	}
}

// quantile is by nearest rank: always one of the samples, 0 of none.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

func number[T string | []byte](b *testing.B, text T) int {
	b.Helper()
	n, err := strconv.Atoi(string(text))
	check(b, err)
	return n
}

func duration(b *testing.B, text []byte) time.Duration {
	b.Helper()
	d, err := time.ParseDuration(string(text))
	if err != nil {
		check(b, fmt.Errorf("in a client's output: %w", err))
	}
	return d
}
