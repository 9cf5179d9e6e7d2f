package proxies

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// result is what a case has shown, as it is kept.
type result struct {
	Case, Text, By, Target string
	Date                   string
	Rows                   []row
}

// row is a contender's.
type row struct {
	Name string
	sample
	// Ratios are to the first contender, of each round; Ratio is their median.
	// Where nothing is compared it is the value itself.
	Ratios []float64 `json:",omitempty"`
	Ratio  float64
}

// results are of this run.
var results []*result

// The files that are written with -record.
const (
	resultsFile = "results.json"
	pageFile    = "../../docs/performance.md"
	chartFile   = "../../docs/performance-proxies.svg"
)

// recordResults puts this run's results in the place of those of the same cases,
// and writes what is made from all of them.
func recordResults() error {
	kept, err := keptResults()
	if err != nil {
		return err
	}
	for _, r := range results {
		r.Date = time.Now().UTC().Format(time.DateOnly)
		if i := slices.IndexFunc(kept, func(k *result) bool { return k.Case == r.Case }); i >= 0 {
			kept[i] = r
		} else {
			kept = append(kept, r)
		}
	}
	text, err := json.MarshalIndent(kept, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(resultsFile, append(text, '\n'), 0o644); err != nil {
		return err
	}
	page, err := os.ReadFile(pageFile)
	if err != nil {
		return err
	}
	if page, err = withTables(page, kept); err != nil {
		return err
	}
	if err := os.WriteFile(pageFile, page, 0o644); err != nil {
		return err
	}
	return os.WriteFile(chartFile, drawing(kept), 0o644)
}

func keptResults() (kept []*result, err error) {
	text, err := os.ReadFile(resultsFile)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("%s: %w", resultsFile, err)
	}
	return kept, nil
}
