package proxy

import (
	"net/http"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// headerMap adds fields to what net/http takes as the header of an answer. Their
// text is one string, made at once.
type headerMap struct {
	fields []*http1.Field
	text   []byte
}

func (h *headerMap) begin() { h.fields, h.text = h.fields[:0], h.text[:0] }

// add has a field written, whose bytes stay until then.
func (h *headerMap) add(f *http1.Field) {
	h.fields = append(h.fields, f)
	h.text = http1.AppendLower(h.text, f.Name)
	h.text = append(h.text, f.Value...)
}

// write puts what was added into a header.
func (h *headerMap) write(to http.Header) {
	text, values := string(h.text), make([]string, len(h.fields))
	for i, f := range h.fields {
		name := sought(text[:len(f.Name)])
		text = text[len(f.Name):]
		values[i], text = text[:len(f.Value)], text[len(f.Value):]
		if had := to[name]; had != nil {
			to[name] = append(had, values[i])
		} else {
			to[name] = values[i : i+1 : i+1]
		}
	}
	clear(h.fields)
}

// sought is a name as net/http looks for it. Names that it only passes on stay in
// lower case, as HTTP/2 has them, so that no other string has to be made.
func sought(name string) string {
	switch name {
	case "connection":
		return "Connection"
	case "content-encoding":
		return "Content-Encoding"
	case "content-length":
		return "Content-Length"
	case "content-type":
		return "Content-Type"
	case "date":
		return "Date"
	case "trailer":
		return "Trailer"
	}
	return name
}
