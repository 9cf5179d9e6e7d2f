package bench

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// quantile is by nearest rank: always one of the samples, which may not be none.
func quantile(samples []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// report prints a series of samples as figures of the benchmark, in
// milliseconds. With less than 100 samples the p99 is their maximum.
func report(b *testing.B, name string, samples []time.Duration) {
	b.Helper()
	for unit, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		b.ReportMetric(milliseconds(quantile(samples, q)), name+"-"+unit+"-ms")
	}
	b.Logf("%s: %v", name, rounded(slices.Sorted(slices.Values(samples))))
}

func rounded(samples []time.Duration) []time.Duration {
	list := make([]time.Duration, len(samples))
	for i, s := range samples {
		list[i] = s.Round(time.Millisecond)
	}
	return list
}

// round is a quantile in whole milliseconds; a dash: there is no sample.
func round(samples []time.Duration, q float64) string {
	if len(samples) == 0 {
		return "–"
	}
	return fmt.Sprint(quantile(samples, q).Round(time.Millisecond).Milliseconds())
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// noTimePerOperation keeps a figure out of the output that means nothing here.
func noTimePerOperation(b *testing.B) { b.ReportMetric(0, "ns/op") }
