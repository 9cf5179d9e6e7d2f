package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

const (
	lookEvery  = 500 * time.Millisecond
	probeLimit = 2 * time.Second
)

// Wait returns once all services of the stack have all their tasks and every
// proxy answers on its port. It tells of each change on the way there, and when
// ctx ends before, its error says what is still wrong.
func (s *Stack) Wait(ctx context.Context, swarm Swarm, tell func(line string)) error {
	told := map[string]bool{}
	for {
		missing, err := s.missing(ctx, swarm)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && len(missing) == 0 {
			return nil
		}
		for _, line := range missing {
			if !told[line] {
				told[line] = true
				tell(line)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no traffic flows yet: %w", errors.Join(lastWords(ctx, missing)...))
		case <-time.After(lookEvery):
		}
	}
}

func lastWords(ctx context.Context, missing []string) []error {
	all := []error{context.Cause(ctx)}
	for _, line := range missing {
		all = append(all, errors.New(line))
	}
	return all
}

// missing says what is still to come, one line each; nothing if traffic flows.
func (s *Stack) missing(ctx context.Context, swarm Swarm) ([]string, error) {
	snap, err := swarm.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, name := range s.parts() {
		lines = append(lines, unfinished(snap, name)...)
	}
	if len(lines) > 0 {
		return lines, nil
	}
	for _, address := range s.proxies(snap) {
		if err := probe(ctx, address); err != nil {
			lines = append(lines, fmt.Sprintf("the proxy at %s does not answer: %v", address, err))
		}
	}
	return lines, nil
}

// unfinished says how many tasks of a service run, unless all do, and why others
// do not.
func unfinished(snap *snapshot.Snapshot, name string) []string {
	s := findService(snap, name)
	if s == nil {
		return []string{name + ": not there yet"}
	}
	if s.Update == snapshot.UpdateUpdating {
		return []string{name + ": being updated"}
	}
	if s.Update.RolledBack() {
		return []string{name + ": the update has failed and is taken back: see docker service logs " + name}
	}
	running, lines := 0, []string(nil)
	for _, t := range snap.TasksOf(s.ID) {
		switch {
		case t.Runs():
			running++
		case t.Err != "":
			lines = append(lines, fmt.Sprintf("%s%s: %s; %s", name, on(snap, t), t.Err, advice(t.Err)))
		}
	}
	if s.Spec.Replicas == nil || running >= int(*s.Spec.Replicas) {
		return nil
	}
	slices.Sort(lines)
	return append([]string{fmt.Sprintf("%s: %d of %d run", name, running, *s.Spec.Replicas)}, slices.Compact(lines)...)
}

func on(snap *snapshot.Snapshot, t *snapshot.Task) string {
	if n := snap.Node(t.NodeID); n != nil {
		return " on " + n.Hostname
	}
	return ""
}

// proxies lists where clients reach the proxies that run: host:port, sorted.
func (s *Stack) proxies(snap *snapshot.Snapshot) []string {
	service := findService(snap, s.front())
	var addresses []string
	for _, t := range snap.TasksOf(service.ID) {
		if n := snap.Node(t.NodeID); n != nil && t.Runs() {
			addresses = append(addresses, net.JoinHostPort(n.Addr.String(), strconv.Itoa(s.options.Port)))
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

// probe asks for a host that nobody serves: whichever way a proxy answers, it
// has its configuration.
func probe(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", http.NoBody)
	if err != nil {
		return err
	}
	req.Host = "interlock-install.invalid"
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "Get "+strconv.Quote(req.URL.String())+": "))
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	return err
}
