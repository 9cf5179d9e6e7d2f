package lab

import (
	"os"
	"strings"
	"testing"
)

// Require skips the test where a lab cannot run, with the reason as one line.
// With CI=true in the environment it fails instead.
func Require(t testing.TB) {
	t.Helper()
	err := Unavailable()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%v (with CI=true that is a failure)", err)
	default:
		t.Skip(err.Error())
	}
}

// New brings up a lab for one test, which [Require] may skip, and takes it down
// at the test's end. If the test failed, its engines' last words are logged.
func New(t testing.TB, o Options) *Lab {
	t.Helper()
	Require(t)
	l, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logLastWords(t, l)
		}
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func logLastWords(t testing.TB, l *Lab) {
	var words strings.Builder
	if err := l.WriteLogs(&words); err != nil {
		t.Log(err)
	}
	t.Log(words.String())
}
