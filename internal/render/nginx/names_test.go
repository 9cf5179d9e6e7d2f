package nginx

import "testing"

func TestAWildcardStandsForAllThatIsBelowIt(t *testing.T) {
	w := make(wildcards)
	for _, name := range []string{"*.Example.com", "*.sub.other.test", "plain.test"} {
		w.add(name)
	}
	for name, want := range map[string]bool{
		"a.example.com": true, "A.B.EXAMPLE.com": true, "*.b.example.com": true, "x.sub.other.test": true,
		"example.com": false, "*.example.com": false, "*.EXAMPLE.COM": false, "badexample.com": false,
		"sub.other.test": false, "a.other.test": false, "a.plain.test": false, "": false,
	} {
		if got := w.cover(name); got != want {
			t.Errorf("%q: got %t", name, got)
		}
	}
}
