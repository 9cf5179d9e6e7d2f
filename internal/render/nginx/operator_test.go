package nginx

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheOperatorsLinesAreTakenApartAsNginxDoes(t *testing.T) {
	for line, want := range map[string][][]string{
		"":                                      nil,
		"gzip on":                               {{"gzip", "on"}},
		"gzip on;etag off":                      {{"gzip", "on"}, {"etag", "off"}},
		"# gzip on;\netag off;":                 {{"etag", "off"}},
		"a#b c;":                                {{"a#b", "c"}},
		`a "b; c" 'd {' "\"";`:                  {{"a", "b; c", "d {", `"`}},
		`a b\;c;`:                               {{"a", "b;c"}},
		"a ${b}c x}y;":                          {{"a", "${b}c", "x}y"}},
		"map $a $b { default 1; } c;":           {{"map", "$a", "$b"}, {"c"}},
		"server { location / { a b; } c d; } e": {{"server"}, {"e"}},
		`a "never closed`:                       nil,
		"} a;":                                  nil,
	} {
		var got [][]string
		for _, d := range operatorDirectives([]string{line}) {
			got = append(got, d.words)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}
