package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// agents lists the addresses of the proxies' agents.
func agents(t *testing.T) []string {
	t.Helper()
	var list []string
	tasks := docker(t, "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.ID}}", "interlock-proxy")
	for line := range strings.Lines(tasks) {
		node, task, _ := strings.Cut(strings.TrimSpace(line), " ")
		list = append(list, net.JoinHostPort(cluster.Node(node).Address(), enginePort(t, task, "7480")))
	}
	return list
}

// health asks an agent what its proxy serves, as anybody may.
func health(ctx context.Context, address string) (status map[string]any, err error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/healthz", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	return status, nil
}

func servedTable(ctx context.Context, address string) (string, error) {
	status, err := health(ctx, address)
	if err != nil {
		return "", err
	}
	version, _ := status["tableVersion"].(string)
	if version == "" {
		return "", fmt.Errorf("%s serves no table: %v", address, status)
	}
	return version, nil
}
