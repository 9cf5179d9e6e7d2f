package proxies

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/bench/proxies/chart"
)

// Of docs/performance.md what stands between these is written here.
var begin, end = []byte("<!-- what make bench RECORD=1 writes -->\n"), []byte("<!-- up to here -->\n")

func withTables(page []byte, all []*result) ([]byte, error) {
	before, rest, found := bytes.Cut(page, begin)
	_, after, ends := bytes.Cut(rest, end)
	if !found || !ends {
		return nil, errors.New("the page has no place for the tables")
	}
	return bytes.Join([][]byte{before, begin, tables(all), end, after}, nil), nil
}

func tables(all []*result) []byte {
	var out bytes.Buffer
	out.WriteString("\n| case | | CPU µs | ratio (its rounds) | req/s | p50 ms | p99 ms | MB |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range all {
		if !r.compared() {
			continue
		}
		fmt.Fprintf(&out, "| **%s**, %s: wanted %s | | | | | | | |\n", r.Text, r.Date, r.Target)
		for _, w := range r.Rows {
			fmt.Fprintf(&out, "| | %s | %.1f | %.2f (%s) | %.0f | %.2f | %.2f | %.1f |\n", w.Name, w.Micros, w.Ratio, rounded(w.Ratios), w.Rate, w.P50, w.P99, w.Memory)
		}
	}
	out.WriteString("\n| memory | kB each |\n|---|---|\n")
	for _, r := range all {
		if r.compared() {
			continue
		}
		fmt.Fprintf(&out, "| **%s**, %s: wanted %s | |\n", r.Text, r.Date, r.Target)
		for _, w := range r.Rows {
			fmt.Fprintf(&out, "| %s | %.1f |\n", w.Name, w.Ratio)
		}
	}
	out.WriteString("\n")
	return out.Bytes()
}

func (r *result) compared() bool { return len(r.Rows[0].Ratios) > 0 }

func rounded(ratios []float64) string {
	var out bytes.Buffer
	for i, v := range ratios {
		if i > 0 {
			out.WriteByte(' ')
		}
		fmt.Fprintf(&out, "%.2f", v)
	}
	return out.String()
}

// drawing is of the CPU time as a multiple of nginx's.
func drawing(all []*result) []byte {
	c := chart.Chart{Title: "CPU time a request, as a multiple of nginx's", Mark: 1, Most: 5}
	for _, p := range plain {
		c.Series = append(c.Series, p.name)
	}
	for _, r := range all {
		if r.By != cpuTime.unit || r.Rows[0].Name != nginx.name {
			continue
		}
		g := chart.Group{Label: r.Case}
		for _, w := range r.Rows {
			g.Bars = append(g.Bars, chart.Bar{Series: w.Name, Value: w.Ratio})
		}
		c.Groups = append(c.Groups, g)
	}
	return c.SVG()
}

func TestThePageSaysWhatWasMeasured(t *testing.T) {
	kept, err := keptResults()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	want, err := withTables(page, kept)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(page)); diff != "" {
		t.Errorf("%s is not what %s says (-want +got):\n%s", pageFile, resultsFile, diff)
	}
	svg, err := os.ReadFile(chartFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(drawing(kept)), string(svg)); diff != "" {
		t.Errorf("%s is not what %s says (-want +got):\n%s", chartFile, resultsFile, diff)
	}
}
