package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	curlTimeout  = 10 * time.Second
	curlMaxBytes = 1 << 20
)

// Answer is what a server answered.
type Answer struct {
	Status int
	Header http.Header
	// Body is cut after 1 MiB.
	Body string
}

// Curl sends one GET request on a connection of its own, without any proxy and
// without following redirects, and waits at most 10 s. Headers are written as
// "Name: value"; Host is one of them.
func Curl(ctx context.Context, url string, headers ...string) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, curlTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return Answer{}, fmt.Errorf("make the request: %w", err)
	}
	for _, h := range headers {
		name, value, found := strings.Cut(h, ":")
		if !found {
			return Answer{}, fmt.Errorf("header %q is not of the form \"Name: value\"", h)
		}
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Answer{}, fmt.Errorf("GET %s: %w", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, curlMaxBytes))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer to GET %s: %w", url, err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}, nil
}
