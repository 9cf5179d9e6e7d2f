package nginx

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	rendernginx "github.com/interlock-lb/interlock/internal/render/nginx"
)

const (
	// askTimeout bounds one question to the status socket.
	askTimeout = time.Second
	maxAnswer  = 256 // bytes
)

// statusClient asks nginx on a unix socket what it serves.
type statusClient struct {
	http http.Client
}

func newStatusClient(socket string) *statusClient {
	var dialer net.Dialer
	return &statusClient{http.Client{
		Timeout: askTimeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
			// A connection that is kept would ask the same worker again.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 16 << 10,
		},
	}}
}

// token returns the token of the files that nginx serves.
func (s *statusClient) token(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://status"+rendernginx.StatusPath, nil)
	if err != nil {
		return "", err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking nginx for its status: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("asking nginx for its status: it answered %s", response.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("asking nginx for its status: %w", err)
	}
	return string(answer), nil
}
