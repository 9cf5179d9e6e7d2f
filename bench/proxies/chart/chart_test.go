package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"testing"

	"github.com/interlock-lb/interlock/bench/proxies/chart"
)

func drawn(values ...float64) *chart.Chart {
	c := &chart.Chart{Title: "a < b & c", Series: []string{"one"}, Mark: 1, Most: 5}
	for _, v := range values {
		c.Groups = append(c.Groups, chart.Group{Label: "<case>", Bars: []chart.Bar{{Series: "one", Value: v}}})
	}
	return c
}

// bars are the widths of the rectangles that are no background and no legend.
func bars(t *testing.T, svg []byte) (widths []int) {
	t.Helper()
	in := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			return widths[2:]
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if element, is := token.(xml.StartElement); is && element.Name.Local == "rect" {
			for _, a := range element.Attr {
				if a.Name.Local == "width" {
					w, err := strconv.Atoi(a.Value)
					if err != nil {
						t.Fatal(err)
					}
					widths = append(widths, w)
				}
			}
		}
	}
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	if w := bars(t, drawn(1, 2).SVG()); w[1] != 2*w[0] || w[0] == 0 {
		t.Errorf("1 and 2 are %d and %d pixels long", w[0], w[1])
	}
}

func TestABarThatIsTooLongIsCut(t *testing.T) {
	if w := bars(t, drawn(5, 9).SVG()); w[0] != w[1] {
		t.Errorf("5, the most, is %d pixels long, and 9 is %d", w[0], w[1])
	}
}
