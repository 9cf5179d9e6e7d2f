package proxies

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

const rounds = 5

// comparison is a case: contenders that do the same in turns.
type comparison struct {
	name string // unique
	text string // for people
	// by is what the ratio is of.
	by     measure
	target string // for the native proxy
}

// measure is one of what is measured.
type measure struct {
	unit string
	of   func(sample) float64
}

var (
	cpuTime = measure{"CPU time", func(s sample) float64 { return s.Micros }}
	p99     = measure{"p99", func(s sample) float64 { return s.P99 }}
)

// sample is what a contender has shown in a round.
type sample struct {
	Micros   float64 // CPU time a request, in µs
	Rate     float64 // requests a second
	P50, P99 float64 // ms
	Memory   float64 // MB, at the end
}

// turns has all contenders loaded in every round, and compares them with the
// first.
func (c comparison) turns(b *testing.B, all []*process, ask load) {
	for _, p := range all {
		ask(b, p, loadFor) // what is slow for the first time only
	}
	samples := make([][]sample, len(all))
	for range rounds {
		for i, p := range all {
			samples[i] = append(samples[i], measureOne(b, p, ask))
		}
	}
	r := &result{Case: c.name, Text: c.text, By: c.by.unit, Target: c.target}
	for i, p := range all {
		r.Rows = append(r.Rows, c.row(p.name, samples[i], samples[0]))
	}
	r.print(b)
	results = append(results, r)
	last := r.Rows[len(r.Rows)-1]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(last.Ratio, "ratio")
}

func measureOne(b *testing.B, p *process, ask load) sample {
	before := p.cpu(b)
	o := ask(b, p, loadFor)
	used := p.cpu(b) - before
	if used == 0 || o.Requests == 0 {
		b.Fatalf("%s did nothing in %v: the machine is too busy to measure", p.name, loadFor)
	}
	return sample{
		Micros: float64(used.Microseconds()) / float64(o.Requests),
		Rate:   float64(o.Requests) / o.Took.Seconds(),
		P50:    milliseconds(o.P50), P99: milliseconds(o.P99),
		Memory: float64(p.memory(b)) * 1024 / 1e6,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// row is the medians of the rounds, each figure's own.
func (c comparison) row(name string, samples, first []sample) row {
	each := func(of func(sample) float64) float64 {
		var values []float64
		for _, s := range samples {
			values = append(values, of(s))
		}
		return middle(values)
	}
	made := row{Name: name, sample: sample{
		Micros: each(func(s sample) float64 { return s.Micros }), Rate: each(func(s sample) float64 { return s.Rate }),
		P50: each(func(s sample) float64 { return s.P50 }), P99: each(func(s sample) float64 { return s.P99 }),
		Memory: each(func(s sample) float64 { return s.Memory }),
	}}
	for i, s := range samples {
		made.Ratios = append(made.Ratios, c.by.of(s)/c.by.of(first[i]))
	}
	made.Ratio = middle(made.Ratios)
	return made
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

// print is for who runs the benchmark.
func (r *result) print(b *testing.B) {
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(out, "\n%s; ratios of %s, wanted: %s\n", r.Text, r.By, r.Target)
	fmt.Fprintln(out, "\tµs CPU\treq/s\tp50 ms\tp99 ms\tMB\tratio\tof each round")
	for _, w := range r.Rows {
		fmt.Fprintf(out, "%s\t%.1f\t%.0f\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\n", w.Name, w.Micros, w.Rate, w.P50, w.P99, w.Memory, w.Ratio, w.Ratios)
	}
	check(b, out.Flush())
}
