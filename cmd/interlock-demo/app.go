package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	sessionCookie = "session"
	sessionAge    = 24 * time.Hour

	// maxSlow is the longest that /slow may take.
	maxSlow = 60 * time.Second

	// maxPosted is the longest content that /ping takes.
	maxPosted = 1 << 20
)

// identity is what distinguishes one task's answers from another's.
type identity struct {
	Instance string `json:"instance"`
	Version  string `json:"version"`
	Metadata string `json:"metadata"`
}

// pong is the answer to /ping.
type pong struct {
	identity
	RequestID string `json:"request_id"`
}

// app answers the requests.
type app struct {
	identity identity
	echo     *echo
	calls    *calls
}

func newApp(identity identity) *app {
	return &app{identity: identity, echo: newEcho(), calls: newCalls(identity.Instance)}
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("GET /ping", a.ping)
	mux.HandleFunc("POST /ping", a.posted)
	mux.HandleFunc("GET /slow", a.slow)
	mux.Handle("GET /ws", a.echo)
	mux.Handle("POST /grpc.health.v1.Health/", a.calls)
	return mux
}

func (a *app) ping(w http.ResponseWriter, r *http.Request) {
	startSession(w, r)
	a.writePong(w, r)
}

// posted answers like ping, once the request's content has come completely.
func (a *app) posted(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxPosted)); err != nil {
		http.Error(w, "read the content: "+err.Error(), http.StatusBadRequest)
		return
	}
	a.ping(w, r)
}

// slow answers like ping, after the duration in the query's "for".
func (a *app) slow(w http.ResponseWriter, r *http.Request) {
	wait, err := parseSlow(r.URL.Query().Get("for"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(wait):
		a.writePong(w, r)
	case <-r.Context().Done(): // the client left, nobody reads an answer
	}
}

func parseSlow(value string) (time.Duration, error) {
	wait, err := time.ParseDuration(value)
	if err != nil || wait < 0 || wait > maxSlow {
		return 0, fmt.Errorf("for=%s is not a duration from 0s to %v; an example is /slow?for=8s",
			strconv.Quote(value), maxSlow)
	}
	return wait, nil
}

func (a *app) writePong(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	answer := pong{identity: a.identity, RequestID: r.Header.Get("X-Request-Id")}
	if err := json.NewEncoder(&body).Encode(answer); err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-App-Protocol", r.Proto)
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	_, _ = body.WriteTo(w) // fails only where the client left
}

// startSession gives a client without a session its cookie, as sticky sessions need.
func startSession(w http.ResponseWriter, r *http.Request) {
	if _, err := r.Cookie(sessionCookie); err == nil {
		return
	}
	now := time.Now()
	http.SetCookie(w, &http.Cookie{
		Name:    sessionCookie,
		Value:   strconv.FormatInt(now.UnixNano(), 10),
		Path:    "/",
		Expires: now.Add(sessionAge),
		MaxAge:  int(sessionAge.Seconds()),
	})
}
