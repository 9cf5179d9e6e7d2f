package extension

import (
	"context"
	"fmt"
	"time"
)

const (
	// longestWait is how long the clock is left alone: a machine that slept must
	// not miss the day.
	longestWait = time.Hour
	// renewalRetry is the pause after a renewal that failed. There is a third of
	// the lifetime left to try.
	renewalRetry = time.Minute
)

// renewIdentity keeps the identity valid for as long as the core answers.
func (e *Extension) renewIdentity(ctx context.Context) {
	for {
		wait := time.Until(e.identity.RenewAt())
		if wait <= 0 {
			wait = e.tryRenewal(ctx)
		}
		if !pause(ctx, min(wait, longestWait)) {
			return
		}
	}
}

// tryRenewal says how long to wait before looking again.
func (e *Extension) tryRenewal(ctx context.Context) time.Duration {
	if err := e.renew(ctx); err != nil {
		if ctx.Err() == nil {
			e.log.Warn("identity not renewed, trying again", "after", renewalRetry, "error", err)
		}
		return renewalRetry
	}
	e.log.Info("identity renewed", "next", e.identity.RenewAt())
	return max(time.Until(e.identity.RenewAt()), time.Second)
}

func (e *Extension) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	request, err := e.identity.RequestRenewal()
	if err != nil {
		return fmt.Errorf("asking for a new certificate: %w", err)
	}
	certificate, err := e.core.RenewIdentity(ctx, request)
	if err != nil {
		return fmt.Errorf("having a new certificate signed: %w", err)
	}
	if err := e.identity.CompleteRenewal(certificate); err != nil {
		return fmt.Errorf("taking the new certificate: %w", err)
	}
	return nil
}
