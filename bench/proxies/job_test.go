package proxies

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// jobVariable makes this program do a job instead of the benchmarks: so it is a
// process of its own, whose CPU time can be told from others'.
const jobVariable = "INTERLOCK_BENCH_JOB"

// job is what this program does as another process.
type job struct {
	Does string   // a key of jobs
	Addr string   // to listen on, or to ask
	Apps []string // addresses

	// Of a proxy: how many hosts its table has, 0: one that answers for all;
	// and what they prove their names with in TLS, in PEM.
	Hosts      int
	Chain, Key []byte

	// Of a client.
	Secure      bool
	Connections int
	For         time.Duration
	Rate        float64 // requests a second
}

var jobs = map[string]func(context.Context, *job) error{
	"native": serveNative,
	"relay":  serveRelay,
	"fresh":  askAfresh,
	"paced":  askAtARate,
	"idle":   stayIdle,
}

func perform(given string) error {
	var j job
	if err := json.Unmarshal([]byte(given), &j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return jobs[j.Does](ctx, &j)
}

// command is this program with a job, on a core.
func (j job) command(b *testing.B, core string) *exec.Cmd {
	program, err := os.Executable()
	check(b, err)
	text, err := json.Marshal(j)
	check(b, err)
	c := onCore(core, program)
	c.Env = append(os.Environ(), jobVariable+"="+string(text))
	return c
}

// ask runs a client's job to its end.
func (j job) ask(b *testing.B) outcome {
	c := j.command(b, clientCore)
	c.Stderr = os.Stderr
	out, err := c.Output()
	check(b, err)
	var o outcome
	check(b, json.Unmarshal(out, &o))
	return o
}
