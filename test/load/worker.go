package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer's body.
const maxAnswer = 64 << 10

// content is what a POST request carries.
var content = strings.Repeat("interlock ", 50)

// worker sends one request after another.
type worker struct {
	options *Options
	first   int // of the proxies
	kind    Kind

	conn   net.Conn // kept from the request before; nil: none
	reader *bufio.Reader
	proxy  string // that conn leads to
}

func (w *worker) run(ctx context.Context, t *tally) {
	defer w.hangUp()
	tick := time.NewTicker(w.options.Every)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		w.count(t, w.options.Routes[i%len(w.options.Routes)])
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// count sends one request and reports what came of it.
func (w *worker) count(t *tally, route Route) {
	began := time.Now()
	answer, err := w.ask(route, began.Add(w.options.Timeout))
	took := time.Since(began)
	loss := Loss{Kind: w.kind, Proxy: w.proxy, Route: route, Began: began, Took: took}
	switch {
	case err != nil:
		w.hangUp()
		loss.Reason, loss.Broke = err.Error(), errors.Is(err, errBroke)
		t.lost(loss)
	case answer.Metadata != route.Owner:
		loss.Reason = fmt.Sprintf("%s answered, task %s", answer.Metadata, answer.Instance)
		t.misrouted(loss)
	default:
		t.answered(w.kind, answer.Instance, took)
	}
}

// errBroke says that a connection ended before anything of an answer came.
var errBroke = errors.New("the connection broke")

// pong is what the demo app answers.
type pong struct {
	Instance string `json:"instance"`
	Metadata string `json:"metadata"`
}

func (w *worker) ask(route Route, deadline time.Time) (pong, error) {
	if w.conn == nil || hasEnded(w.conn) {
		w.hangUp()
		if err := w.connect(deadline); err != nil {
			return pong{}, err
		}
	}
	if err := w.conn.SetDeadline(deadline); err != nil {
		return pong{}, err
	}
	request, err := w.request(route)
	if err != nil {
		return pong{}, err
	}
	if err := request.Write(w.conn); err != nil {
		return pong{}, fmt.Errorf("%w: send the request: %w", errBroke, err)
	}
	if _, err := w.reader.Peek(1); err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: %w", errBroke, err)
		}
		return pong{}, fmt.Errorf("wait for the answer: %w", err)
	}
	response, err := http.ReadResponse(w.reader, request)
	if err != nil {
		return pong{}, fmt.Errorf("read the answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return pong{}, fmt.Errorf("read the answer's body: %w", err)
	}
	if !w.kind.KeepAlive || response.Close {
		w.hangUp()
	}
	return understand(response, body)
}

func understand(response *http.Response, body []byte) (pong, error) {
	var p pong
	if response.StatusCode != http.StatusOK {
		return p, fmt.Errorf("status %d: %.80q", response.StatusCode, body)
	}
	if err := json.Unmarshal(body, &p); err != nil || p.Instance == "" {
		return p, fmt.Errorf("the answer %.80q is not the demo app's", body)
	}
	return p, nil
}

func (w *worker) request(route Route) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if w.kind.Method == http.MethodPost {
		body = strings.NewReader(content)
	}
	request, err := http.NewRequestWithContext(context.Background(), w.kind.Method, "http://"+w.proxy+route.Path, body)
	if err != nil {
		return nil, err
	}
	request.Host = route.Host
	request.Close = !w.kind.KeepAlive
	return request, nil
}

// connect dials the worker's proxy, and where that may be, the others.
func (w *worker) connect(deadline time.Time) error {
	proxies := w.options.Proxies
	tries := 1
	if w.options.Failover {
		tries = len(proxies)
	}
	var failed error
	for i := range tries {
		w.proxy = proxies[(w.first+i)%len(proxies)]
		dialer := net.Dialer{Timeout: time.Until(deadline) / time.Duration(tries-i)}
		conn, err := dialer.DialContext(context.Background(), "tcp", w.proxy)
		if err == nil {
			w.conn, w.reader = conn, bufio.NewReader(conn)
			return nil
		}
		failed = errors.Join(failed, err)
	}
	return fmt.Errorf("connect: %w", failed)
}

func (w *worker) hangUp() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}
