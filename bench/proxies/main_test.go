package proxies

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// record has the run's figures written to the documentation.
var record = flag.Bool("record", false, "write the figures to docs/performance.md and its chart")

func TestMain(m *testing.M) {
	if given := os.Getenv(jobVariable); given != "" {
		if err := perform(given); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if *record && code == 0 {
		if err := recordResults(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
