package docker

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// retryFirst and retryMost are the waits before a failed call to the API is
// made again: the first one, and the one that they grow to.
const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
)

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = retryFirst, retryMost
	b.Reset()
	return b
}

// watch calls hint whenever the API announces a change, and whenever it begins
// to listen anew, since nobody tells what was announced before. It returns
// once ctx is done. Losing the stream costs time only, for the polling goes on;
// it is logged once until a stream has lasted again.
func (c *Client) watch(ctx context.Context, hint func()) {
	wait := newBackOff()
	told := false
	for {
		began := time.Now()
		err := c.follow(ctx, hint)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > retryMost {
			wait.Reset()
			told = false
		}
		if !told {
			c.log.Warn("the docker event stream is lost; polling goes on", "error", inPlainWords(err.Error()))
			told = true
		}
		if !sleep(ctx, wait.NextBackOff()) {
			return
		}
	}
}

// follow listens to one event stream until it ends, and always says why.
func (c *Client) follow(ctx context.Context, hint func()) error {
	if _, err := c.negotiate(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := c.api.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.
		Add("scope", "swarm").
		Add("type", string(events.ServiceEventType), string(events.NodeEventType), string(events.NetworkEventType),
			string(events.SecretEventType), string(events.ConfigEventType))})
	select {
	case err := <-stream.Err:
		return err
	default:
		hint()
	}
	for {
		select {
		case <-stream.Messages:
			hint()
		case err := <-stream.Err:
			if errors.Is(err, io.EOF) {
				return errors.New("the engine ended it")
			}
			return err
		}
	}
}

// sleep waits for d and tells whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
