package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	retryEvery = 100 * time.Millisecond
	// askTimeout bounds one question to an engine that may be paused or cut off.
	askTimeout = 5 * time.Second
)

// Eventually calls check until it returns nil, ten times a second, and gives up
// after the timeout or when ctx ends. The error then is check's last one. check
// must heed its context, which ends with the wait.
func Eventually(ctx context.Context, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := time.Now()
	var last error
	for try := 1; ; try++ {
		err := check(ctx)
		if err == nil {
			return nil
		}
		// What ended with the wait says nothing about why the wait was in vain.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not so after %s and %d tries: %w", time.Since(begin).Round(time.Millisecond), try, last)
		case <-time.After(retryEvery):
		}
	}
}

// WaitConverged waits until the managers see the lab as it is: every node that
// runs is Ready, every manager among them reachable, exactly one of them leads,
// and every node that was killed is Down. It cannot come true while a node is
// paused or cut off from the managers. Swarm takes about 15 s to call a lost
// node Down.
func (l *Lab) WaitConverged(ctx context.Context, timeout time.Duration) error {
	err := Eventually(ctx, timeout, func(ctx context.Context) error {
		seen, err := l.members(ctx)
		if err != nil {
			return err
		}
		return l.differences(seen)
	})
	if err != nil {
		return fmt.Errorf("wait for the swarm to converge: %w", err)
	}
	return nil
}

func (l *Lab) differences(seen map[string]member) error {
	var wrong []string
	leaders := 0
	for _, n := range l.nodes {
		m, running := seen[n.name], n.Running()
		switch {
		case running && m.status != "Ready":
			wrong = append(wrong, fmt.Sprintf("%s runs and is %q", n.name, m.status))
		case !running && m.status != "Down":
			wrong = append(wrong, fmt.Sprintf("%s is off and is %q", n.name, m.status))
		case running && n.role == Manager && m.manager != "Leader" && m.manager != "Reachable":
			wrong = append(wrong, fmt.Sprintf("manager %s is %q", n.name, m.manager))
		}
		if m.manager == "Leader" {
			leaders++
		}
	}
	if leaders != 1 {
		wrong = append(wrong, fmt.Sprintf("there are %d leaders", leaders))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, ", "))
	}
	return nil
}
