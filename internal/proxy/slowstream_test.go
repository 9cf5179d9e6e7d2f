package proxy_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// frames opens a connection of HTTP/2 to a host, with settings of one's own.
func (r *rig) frames(host string, settings ...h2.Setting) *h2.Framer {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.secureAddr, &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{h2.NextProtoTLS}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	framer := h2.NewFramer(c, c)
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(c, h2.ClientPreface); err != nil {
		r.t.Fatal(err)
	}
	if err := framer.WriteSettings(settings...); err != nil {
		r.t.Fatal(err)
	}
	return framer
}

// get asks for / of a host on a stream.
func get(t *testing.T, framer *h2.Framer, stream uint32, host string) {
	t.Helper()
	getPath(t, framer, stream, host, "/")
}

func getPath(t *testing.T, framer *h2.Framer, stream uint32, host, path string) {
	t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", path}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := framer.WriteHeaders(h2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
}

// However short an answer is, and whether or not the client takes other streams.
func TestAStreamWhoseClientTakesNothingIsReset(t *testing.T) {
	const send = time.Second
	for name, length := range map[string]int{"short": 5, "long": 100_000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *proxy.Options) { o.Limits.Send = send })
			table, credentials := certified(t, app(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(make([]byte, length))
			}), "a.test")
			if err := r.server.Swap(table, credentials); err != nil {
				t.Fatal(err)
			}
			framer := r.frames("a.test", h2.Setting{ID: h2.SettingInitialWindowSize, Val: 0})
			began := time.Now()
			get(t, framer, 1, "a.test")
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if reset, is := frame.(*h2.RSTStreamFrame); is && reset.StreamID == 1 {
					break
				}
			}
			if took := time.Since(began); took < send*7/8 {
				t.Errorf("it was reset after %v, and may take %v", took, send)
			}
			eventually(t, "nothing works on it", func() bool { return r.server.Busy() == 0 })
		})
	}
}
