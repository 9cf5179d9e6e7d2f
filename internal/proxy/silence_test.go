package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy"
)

// An app may take its time, and more than its machine may to acknowledge what it got.
func TestAnAppThatIsSlowIsNotTakenForGone(t *testing.T) {
	const (
		longer = 3 * time.Second
		large  = 16 << 20 // more than all buffers on the way hold
	)
	r := newRig(t, func(o *proxy.Options) { o.Limits.MaxBody = 0 })
	r.serve(all(app(t, func(w http.ResponseWriter, req *http.Request) {
		time.Sleep(longer)
		n, err := io.Copy(io.Discard, req.Body)
		fmt.Fprintf(w, "%d bytes, %v", n, err)
	})))
	for name, request := range map[string]string{
		"to read":   fmt.Sprintf("POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", large, strings.Repeat("x", large)),
		"to answer": "POST / HTTP/1.1\r\nHost: demo.local\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
	} {
		if answer := r.says(request); !strings.HasPrefix(answer, "HTTP/1.1 200") || !strings.Contains(answer, "bytes, <nil>") {
			t.Errorf("slow %s: got %.300q", name, answer)
		}
	}
}
