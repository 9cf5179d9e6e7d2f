package proxies

// result is what a case has shown, as it is kept.
type result struct {
	Case, Text, By, Target string
	Rows                   []row
}

// row is a contender's.
type row struct {
	Name string
	sample
	// Ratios are to the first contender, of each round; Ratio is their median.
	Ratios []float64
	Ratio  float64
}

// results are of this run.
var results []result

func recordResults() error { return nil }
