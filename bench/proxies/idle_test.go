package proxies

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
)

// idleConnections is how many clients have asked once and say nothing more.
const idleConnections = 10_000

// BenchmarkIdle measures what a connection costs that waits for its next request.
// HAProxy is left out: it wants two descriptors for each.
func BenchmarkIdle(b *testing.B) {
	for _, secure := range []bool{false, true} {
		b.Run(setting(secure), func(b *testing.B) {
			r := &result{
				Case: "idle, " + setting(secure), Text: fmt.Sprintf("%d idle connections, %s", idleConnections, setting(secure)),
				By: "kB each", Target: "≤ 6 kB each",
			}
			s := setScene(b, secure)
			for _, c := range []contender{nginx, caddy, native} {
				r.Rows = append(r.Rows, row{Name: c.name, Ratio: idleMemory(b, c.start(b, s))})
			}
			out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintf(out, "\n%s, wanted: %s\n", r.Text, r.Target)
			for _, w := range r.Rows {
				fmt.Fprintf(out, "%s\t%.1f kB\n", w.Name, w.Ratio)
			}
			check(b, out.Flush())
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(r.Rows[len(r.Rows)-1].Ratio, "kB/connection")
			results = append(results, r)
		})
	}
}

func setting(secure bool) string {
	if secure {
		return "TLS"
	}
	return "plain"
}

// idleMemory is what each connection adds to a process's memory, in kB.
func idleMemory(b *testing.B, p *process) float64 {
	withClient(job{Does: "fresh", Connections: 16})(b, p, loadFor) // what does not come with each connection
	before := p.memory(b)
	c := job{Does: "idle", Addr: p.addr, Secure: p.secure(), Connections: idleConnections}.command(b, clientCore)
	c.Stderr = os.Stderr
	leave, err := c.StdinPipe()
	check(b, err)
	there, err := c.StdoutPipe()
	check(b, err)
	check(b, c.Start())
	_, err = io.ReadFull(there, make([]byte, 1))
	after := p.memory(b)
	leave.Close()
	if failed := c.Wait(); err == nil {
		err = failed
	}
	check(b, err)
	return float64(after-before) / idleConnections
}

// stayIdle has connections open, each of which has been used once, until there is
// nothing to be read any more. It writes a byte when all are there.
func stayIdle(ctx context.Context, j *job) error {
	const atOnce = 64
	faults := make(chan error, j.Connections)
	turns := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for range j.Connections {
		turns <- struct{}{}
		all.Go(func() {
			c, err := j.dial(ctx)
			if err == nil {
				context.AfterFunc(ctx, func() { c.Close() })
				err = c.one()
			}
			faults <- err
			<-turns
		})
	}
	all.Wait()
	for range j.Connections {
		if err := <-faults; err != nil {
			return err
		}
	}
	if _, err := os.Stdout.Write([]byte{'.'}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
