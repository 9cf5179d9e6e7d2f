package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// agents lists the addresses of the proxies' agents. It is an error while one
// of the tasks waits for its node or its port.
func agents(ctx context.Context) ([]string, error) {
	tasks, err := site.Docker(ctx, "service", "ps", "--quiet", "--filter", "desired-state=running", "interlock-proxy")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, task := range strings.Fields(tasks) {
		address, err := agentAddress(ctx, task)
		if err != nil {
			return nil, err
		}
		list = append(list, address)
	}
	if len(list) == 0 {
		return nil, errors.New("no proxy is meant to run")
	}
	return list, nil
}

func agentAddress(ctx context.Context, task string) (string, error) {
	format := `{{.NodeID}} {{range .Status.PortStatus.Ports}}{{if eq .TargetPort 7480}}{{.PublishedPort}} {{end}}{{end}}`
	out, err := site.Docker(ctx, "inspect", "--type", "task", "-f", format, task)
	if err != nil {
		return "", err
	}
	fields := strings.Fields(out)
	if len(fields) < 2 {
		return "", fmt.Errorf("proxy task %s has no agent port yet", task)
	}
	node, err := site.Docker(ctx, "node", "inspect", "-f", "{{.Description.Hostname}}", fields[0])
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(cluster.Node(strings.TrimSpace(node)).Address(), fields[1]), nil
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
