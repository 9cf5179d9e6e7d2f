package proxy

import (
	"net/http"
	"strconv"
	"time"

	"github.com/interlock-lb/interlock/internal/proxy/http1"
)

// page puts an answer of our own into out.
func (x *exchange) page(status int, text string) {
	x.beginAnswer(status, http.StatusText(status))
	length := 3 + 1 + len(http.StatusText(status)) + 2 + len(text) + 1
	x.out = append(x.out, "Content-Type: text/plain\r\n"...)
	x.out = http1.AppendLength(x.out, int64(length))
	x.endHead()
	if x.request.Is("HEAD") {
		return
	}
	x.out = strconv.AppendInt(x.out, int64(status), 10)
	x.out = append(x.out, ' ')
	x.out = append(x.out, http.StatusText(status)...)
	x.out = append(x.out, "\n\n"...)
	x.out = append(x.out, text...)
	x.out = append(x.out, '\n')
}

// redirect sends the client to another origin, with the path and query of its
// request.
func (x *exchange) redirect(origin string, rest []byte) {
	x.beginAnswer(302, "Found")
	x.out = append(x.out, "Location: "...)
	x.out = append(x.out, origin...)
	x.out = append(x.out, rest...)
	x.out = append(x.out, "\r\nContent-Length: 0\r\n"...)
	x.endHead()
}

// addSlash sends the client from a root to what is below it. The host is not
// named: the port that clients see may be another.
func (x *exchange) addSlash(t *target) {
	x.beginAnswer(302, "Found")
	x.out = append(x.out, "Location: "...)
	x.out = append(x.out, t.root...)
	x.out = append(x.out, '/')
	x.out = append(x.out, x.request.Target.Raw[len(x.request.Target.Path):]...)
	x.out = append(x.out, "\r\nContent-Length: 0\r\n"...)
	x.endHead()
}

// beginAnswer puts the status line and the date of an answer of our own into out.
func (x *exchange) beginAnswer(status int, reason string) {
	x.settle()
	x.facts.status = status
	x.out = statusLine(x.out, status, reason)
	x.date()
}

func statusLine[T string | []byte](dst []byte, status int, reason T) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = append(dst, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	dst = append(dst, reason...)
	return append(dst, "\r\n"...)
}

func (x *exchange) date() {
	x.out = append(x.out, "Date: "...)
	x.out = append(x.out, x.server.clock.stamps.Load().date...)
	x.out = append(x.out, "\r\n"...)
}

// endHead puts what all answers have behind the fields of their own.
func (x *exchange) endHead() {
	if info := x.server.options().info; info != nil {
		x.out = append(x.out, "x-request-id: "...)
		x.out = append(x.out, x.id[:]...)
		x.out = append(x.out, "\r\n"...)
		x.out = append(x.out, info...)
		if f := &x.facts; f.endpoint != nil {
			x.out = append(x.out, "x-upstream-addr: "...)
			x.out = append(x.out, f.endpoint.text...)
			x.out = append(x.out, "\r\nx-upstream-response-time: "...)
			x.out = appendSeconds(x.out, f.answered-f.turned)
			x.out = append(x.out, "\r\n"...)
		}
	}
	switch {
	case !x.request.KeepAlive:
		x.out = append(x.out, "Connection: close\r\n"...)
	case x.request.Minor == 0:
		x.out = append(x.out, "Connection: keep-alive\r\n"...)
	}
	x.out = append(x.out, "\r\n"...)
	x.facts.head = len(x.out)
}

// appendSeconds appends a time in seconds with three decimals, as nginx does.
func appendSeconds(dst []byte, d time.Duration) []byte {
	ms := max(d, 0).Milliseconds()
	dst = strconv.AppendInt(dst, ms/1000, 10)
	ms %= 1000
	return append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}
