// Package bench measures the figures that docs/performance.md records, on the
// eight-node lab where they are Interlock's as a whole. `make bench` runs it.
//
// Each benchmark takes its own number of samples in one iteration and prints
// them besides its quantiles. Nothing here fails because it was slow: the
// machine's other work is in every figure.
package bench
