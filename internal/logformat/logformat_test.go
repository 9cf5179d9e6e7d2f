package logformat_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/logformat"
)

func TestAFormatIsTextAndVariables(t *testing.T) {
	got, err := logformat.Parse([]string{"escape=json", `{"a":"$remote_addr`, `","b":${status}x,`, `"c":"$HTTP_X_My_Field"}`})
	if err != nil {
		t.Fatal(err)
	}
	want := &logformat.Format{Escape: logformat.JSON, Pieces: []logformat.Piece{
		{Text: `{"a":"`},
		{Variable: logformat.RemoteAddr},
		{Text: `","b":`},
		{Variable: logformat.Status},
		{Text: `x,"c":"`},
		{Variable: logformat.RequestField, Field: "x-my-field"},
		{Text: `"}`},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNotKnownIsNamed(t *testing.T) {
	for format, want := range map[string]string{
		"$geoip_country":   "$geoip_country is not known here; there are args, body_bytes_sent,",
		"$http_":           "$http_ is not known",
		"${status":         "the brace of the variable ${status is not closed",
		"a $ b":            "a $ stands without the name",
		"$":                "a $ stands without the name",
		"":                 "the format is empty",
		"escape=xml":       "escape=xml is not one of default, json and none",
		"$sent_http_x_foo": "$sent_http_x_foo is not known",
	} {
		if _, err := logformat.Parse([]string{format}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", format, err, want)
		}
	}
}
