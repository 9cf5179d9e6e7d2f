// Package chart draws groups of bars as SVG: the same groups give the same
// bytes. It measures nothing and reads no files.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Group is a row of bars with a name.
type Group struct {
	Label string
	Bars  []Bar
}

// Bar is a value of a series.
type Bar struct {
	Series string
	Value  float64
}

// Chart is groups of bars, which are drawn up to Most and are told apart by
// their series' colours, as far as there are any.
type Chart struct {
	Title  string
	Series []string
	Groups []Group
	// Mark is a value that a line is drawn at.
	Mark, Most float64
}

// In pixels.
const (
	width, left, right = 860, 230, 60
	bar, between, head = 13, 14, 62
)

var colours = []string{"#009639", "#4477aa", "#22a5c4", "#999999", "#d9480f"}

// SVG draws the chart.
func (c *Chart) SVG() []byte {
	var out bytes.Buffer
	height := head + between
	for _, g := range c.Groups {
		height += len(g.Bars)*bar + between
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	text(&out, 10, 22, `font-size="15"`, c.Title)
	for i, s := range c.Series {
		x := left + i*100
		fmt.Fprintf(&out, `<rect x="%d" y="36" width="10" height="10" fill="%s"/>`+"\n", x, c.colour(s))
		text(&out, x+14, 45, "", s)
	}
	y := head
	for _, g := range c.Groups {
		text(&out, left-8, y+len(g.Bars)*bar/2+4, `text-anchor="end"`, g.Label)
		for _, b := range g.Bars {
			long := c.length(b.Value)
			fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", left, y, long, bar-2, c.colour(b.Series))
			text(&out, left+long+4, y+bar-4, `font-size="10"`, fmt.Sprintf("%.2f", b.Value))
			y += bar
		}
		y += between
	}
	at := left + c.length(c.Mark)
	fmt.Fprintf(&out, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#333333" stroke-dasharray="3 3"/>`+"\n</svg>\n", at, head-6, at, y-between+4)
	return out.Bytes()
}

func (c *Chart) length(value float64) int {
	return int(min(value, c.Most) / c.Most * (width - left - right))
}

func (c *Chart) colour(series string) string {
	for i, s := range c.Series {
		if s == series && i < len(colours) {
			return colours[i]
		}
	}
	return "#000000"
}

func text(out *bytes.Buffer, x, y int, more, what string) {
	fmt.Fprintf(out, `<text x="%d" y="%d" %s>`, x, y, more)
	_ = xml.EscapeText(out, []byte(what)) // a buffer takes all
	out.WriteString("</text>\n")
}
