package proxies

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// client is a connection that one request after the other is sent over.
type client struct {
	net.Conn
	in  *bufio.Reader
	ask []byte
}

var ask = []byte("GET " + path + " HTTP/1.1\r\nHost: " + hostName + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n")

// dial never resumes a session: what a whole handshake costs is the question.
func (j *job) dial(ctx context.Context) (*client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", j.Addr)
	if err != nil {
		return nil, err
	}
	if j.Secure {
		c = tls.Client(c, &tls.Config{
			ServerName: hostName, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"},
			MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP256},
		})
	}
	return &client{Conn: c, in: bufio.NewReader(c), ask: ask}, nil
}

// one sends a request and receives its answer.
func (c *client) one() error {
	if _, err := c.Write(c.ask); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}

// tally is what several clients have seen.
type tally struct {
	mu     sync.Mutex
	began  time.Time
	took   []time.Duration
	failed int
}

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed++
		return
	}
	t.took = append(t.took, took)
}

// print is for the process that has started this one.
func (t *tally) print() error {
	return json.NewEncoder(os.Stdout).Encode(outcome{
		Requests: len(t.took), Failed: t.failed, Took: time.Since(t.began), P50: quantile(t.took, 0.5), P99: quantile(t.took, 0.99),
	})
}

// askAfresh has a new connection for each request.
func askAfresh(ctx context.Context, j *job) error {
	t := &tally{began: time.Now()}
	end := t.began.Add(j.For)
	var all sync.WaitGroup
	for range j.Connections {
		all.Go(func() {
			for time.Now().Before(end) {
				began := time.Now()
				err := j.once(ctx)
				t.add(time.Since(began), err)
			}
		})
	}
	all.Wait()
	return t.print()
}

func (j *job) once(ctx context.Context) error {
	c, err := j.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	c.ask = bytes.Replace(ask, []byte("\r\n\r\n"), []byte("\r\nConnection: close\r\n\r\n"), 1)
	return c.one()
}
