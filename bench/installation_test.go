package bench

import (
	"testing"
	"time"
)

// installations is how often Interlock is installed from nothing.
const installations = 5

// BenchmarkInstallation measures how soon the proxies answer for an app that is
// there already, from the command that creates the core. A node that had no such
// task before pulls the image first.
func BenchmarkInstallation(b *testing.B) {
	needLab(b)
	for b.Loop() {
		var took []time.Duration
		for range installations {
			took = append(took, install(b, setup{"nginx", dockerAPI})...)
		}
		noTimePerOperation(b)
		report(b, "from-command", took)
	}
}
