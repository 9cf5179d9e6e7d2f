package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

// engineAPI is a node's Docker API, for what would take too long by commands.
type engineAPI struct{ client *http.Client }

func newEngineAPI(t *testing.T, n *lab.Node) engineAPI {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.Socket())
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return engineAPI{&http.Client{Transport: transport, Timeout: time.Minute}}
}

// managersAPI is the API of a manager that runs.
func managersAPI(t *testing.T) engineAPI {
	t.Helper()
	manager, err := site.Manager()
	check(t, err)
	return newEngineAPI(t, manager)
}

// do sends one request; in and out are JSON, and may be nil.
func (e engineAPI) do(t *testing.T, method, path string, in, out any) {
	t.Helper()
	check(t, e.try(t.Context(), method, path, in, out))
}

func (e engineAPI) try(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// followLogs gives f each line that the running container of a service writes to its
// standard error after since. It ends with the container, or ctx; without such a
// container it is an error.
func (e engineAPI) followLogs(ctx context.Context, service string, since time.Time, f func(line string)) error {
	filters, err := json.Marshal(map[string][]string{"label": {"com.docker.swarm.service.name=" + service}})
	if err != nil {
		return err
	}
	var containers []struct{ ID string }
	if err := e.try(ctx, http.MethodGet, "/containers/json?filters="+url.QueryEscape(string(filters)), nil, &containers); err != nil {
		return err
	}
	if len(containers) == 0 {
		return fmt.Errorf("no container of %s runs", service)
	}
	path := fmt.Sprintf("http://docker/containers/%s/logs?follow=1&stderr=1&since=%d.%09d", containers[0].ID, since.Unix(), since.Nanosecond())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: e.client.Transport}).Do(request) // which takes as long as the container
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body) // with a frame's header of eight bytes in most
	for lines.Scan() {
		f(lines.Text())
	}
	return lines.Err()
}

// service is what is said of one in the Docker API; see its version 1.41,
// ServiceSpec.
type service struct {
	Name         string
	Labels       map[string]string
	TaskTemplate struct{ ContainerSpec struct{ Image string } }
	Mode         struct{ Replicated struct{ Replicas int } }
	EndpointSpec struct{ Ports []port }
}

type port struct {
	Protocol    string
	TargetPort  int
	PublishMode string
}

// newService is one that routes a host, and runs no task.
func newService(name, host string) (s service) {
	s.Name = name
	s.Labels = map[string]string{"com.docker.lb.hosts": host, "com.docker.lb.port": "8080"}
	s.TaskTemplate.ContainerSpec.Image = site.Image("interlock-demo")
	s.EndpointSpec.Ports = []port{{"tcp", 8080, "host"}}
	return s
}

func (e engineAPI) create(t *testing.T, s service) {
	t.Helper()
	e.do(t, http.MethodPost, "/services/create", s, nil)
}

// update changes a service, to which Swarm itself writes how its updates went.
func (e engineAPI) update(t *testing.T, s service) {
	t.Helper()
	eventually(t, s.Name+" is updated", func(ctx context.Context) error {
		var now struct{ Version struct{ Index uint64 } }
		if err := e.try(ctx, http.MethodGet, "/services/"+s.Name, nil, &now); err != nil {
			return err
		}
		return e.try(ctx, http.MethodPost, fmt.Sprintf("/services/%s/update?version=%d", s.Name, now.Version.Index), s, nil)
	})
}

// memoryOf is the anonymous memory of a task's processes, in bytes.
func memoryOf(t *testing.T, k task) (int64, error) {
	var usage struct {
		Memory struct {
			Stats struct {
				Anon int64 `json:"anon"`      // version 2 of control groups
				RSS  int64 `json:"total_rss"` // version 1
			} `json:"stats"`
		} `json:"memory_stats"`
	}
	err := newEngineAPI(t, site.Lab.Node(k.node)).try(t.Context(), http.MethodGet, "/containers/"+k.container+"/stats?stream=false&one-shot=true", nil, &usage)
	n := max(usage.Memory.Stats.Anon, usage.Memory.Stats.RSS)
	if err == nil && n == 0 {
		err = fmt.Errorf("the engine of %s says nothing of the memory of %s", k.node, k.container)
	}
	return n, err
}
