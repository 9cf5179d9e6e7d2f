package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/walkthrough"
)

// askEvery is the pause between two questions to a proxy. Asking without any
// would take a good part of a small machine away from what is measured.
const askEvery = 2 * time.Millisecond

// answer is the first one of a task through one proxy.
type answer struct {
	node     string
	instance string
	at       time.Time // when it had come completely
}

// firstAnswers asks all proxies for a host, each request on a connection of its
// own, until each has answered with an instance that is not among the known.
func firstAnswers(b *testing.B, host string, known map[string]bool) []answer {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	nodes := walkthrough.LoadBalancers()
	answers := make([]answer, len(nodes))
	group, ctx := errgroup.WithContext(ctx)
	for i, node := range nodes {
		group.Go(func() (err error) {
			answers[i], err = firstAnswer(ctx, node, host, known)
			return err
		})
	}
	check(b, group.Wait())
	return answers
}

func firstAnswer(ctx context.Context, node, host string, known map[string]bool) (answer, error) {
	for {
		_, pong, err := site.Ping(ctx, node, host)
		if err == nil && !known[pong.Instance] {
			return answer{node, pong.Instance, time.Now()}, nil
		}
		select {
		case <-ctx.Done():
			return answer{}, fmt.Errorf("no new task answers for %s on %s; the last question: %w", host, node, err)
		case <-time.After(askEvery):
		}
	}
}

// task is what Swarm says of one.
type task struct {
	UpdatedAt time.Time // when the managers last changed what they store of it
	Status    struct {
		State string
		// Timestamp is when its node saw the state begin. All nodes of a lab have
		// this machine's clock.
		Timestamp       time.Time
		ContainerStatus struct{ ContainerID string }
	}
}

// tasks lists what a service shall run.
func tasks(ctx context.Context, service string) ([]task, error) {
	ids, err := site.Docker(ctx, "service", "ps", "--quiet", "--no-trunc", "--filter", "desired-state=running", service)
	if err != nil || ids == "" {
		return nil, err
	}
	out, err := site.Docker(ctx, append([]string{"inspect"}, strings.Fields(ids)...)...)
	if err != nil {
		return nil, err
	}
	var list []task
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read the tasks of %s: %w", service, err)
	}
	return list, nil
}

// taskOf is the running task behind an instance.
func taskOf(b *testing.B, service, instance string) task {
	b.Helper()
	list, err := tasks(b.Context(), service)
	check(b, err)
	for _, t := range list {
		if t.Status.State == "running" && strings.HasPrefix(t.Status.ContainerStatus.ContainerID, instance) {
			return t
		}
	}
	b.Fatalf("instance %s is none of the %d tasks of %s", instance, len(list), service)
	return task{}
}

// waitForTasks waits until a service runs exactly so many tasks.
func waitForTasks(b *testing.B, service string, want int) {
	b.Helper()
	check(b, lab.Eventually(b.Context(), patience, func(ctx context.Context) error {
		list, err := tasks(ctx, service)
		if err != nil {
			return err
		}
		for _, t := range list {
			if t.Status.State != "running" {
				return errors.New("a task of " + service + " is " + t.Status.State)
			}
		}
		if len(list) != want {
			return fmt.Errorf("%s runs %d tasks", service, len(list))
		}
		return nil
	}))
}
