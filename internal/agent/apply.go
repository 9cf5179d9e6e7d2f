package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxReason bounds a refusal in bytes: it travels to the core and into logs.
const maxReason = 4 << 10

// apply makes the proxy serve next, or leaves it with what it served before.
func (a *Agent) apply(ctx context.Context, next served) error {
	if a.process != nil && a.good != nil && a.good.version == next.version {
		a.took(next)
		return nil
	}
	err := a.take(ctx, next)
	if ctx.Err() != nil && err != nil {
		return ErrEnded
	}
	if err != nil {
		refused := &Refused{Reason: shorten(err.Error())}
		a.log.Warn("bundle refused", "bundle", next.version, "table", next.tableVersion, "reason", refused.Reason)
		a.board.refuse(next.version, refused.Reason)
		return refused
	}
	a.log.Info("bundle served", "bundle", next.version, "table", next.tableVersion)
	a.took(next)
	return nil
}

// take goes through the steps that a bundle must pass.
func (a *Agent) take(ctx context.Context, next served) error {
	if err := a.files.accept(&next.bundle); err != nil {
		return err
	}
	if err := a.check(ctx, next); err != nil {
		return err
	}
	err := a.files.place(next.bundle.Files)
	if err == nil {
		err = a.activate(ctx, next.bundle.Token)
	}
	if err != nil {
		a.putBack(ctx, next, err)
	}
	return err
}

// check lets the proxy look at the files before they are in place.
func (a *Agent) check(ctx context.Context, next served) error {
	defer a.files.unstage()
	if err := a.files.stage(next.bundle.Files); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.options.CheckTimeout)
	defer cancel()
	return a.options.Proxy.Check(ctx, a.files.staging)
}

// activate makes the proxy serve the files in place.
func (a *Agent) activate(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, a.options.ConfirmTimeout)
	defer cancel()
	if a.process != nil {
		return a.process.Reload(ctx, token)
	}
	process, err := a.options.Proxy.Start(ctx, token)
	if err != nil {
		return err
	}
	a.process = process
	a.retry.started()
	return nil
}

// putBack restores the files from before a bundle that failed. A proxy that
// may have taken up some of the new ones is made to take up the old ones, and
// is started anew where it does not.
func (a *Agent) putBack(ctx context.Context, failed served, cause error) {
	if a.good == nil {
		a.files.remove(failed.bundle.Files, nil)
		return
	}
	if err := a.files.place(a.good.bundle.Files); err != nil {
		a.log.Error("the files from before could not be put back", "error", err)
	}
	a.files.remove(failed.bundle.Files, a.good.bundle.Files)
	var refused *Refused
	if a.process == nil || errors.As(cause, &refused) || ctx.Err() != nil {
		return
	}
	if err := a.activate(ctx, a.good.bundle.Token); err != nil {
		a.log.Error("the proxy did not return to the bundle before; starting it anew", "error", err)
		a.process.Kill()
	}
}

// took notes that the proxy serves next.
func (a *Agent) took(next served) {
	if a.good != nil {
		a.files.remove(a.good.bundle.Files, next.bundle.Files)
	}
	unchanged := a.good != nil && a.good.version == next.version && a.good.tableVersion == next.tableVersion
	a.good = &next
	a.retry.stop()
	a.board.serve(next.version, next.tableVersion)
	if unchanged {
		return
	}
	if err := a.store.save(&next); err != nil {
		// It is served all the same; a restart would begin with an older one.
		a.log.Error("the last good bundle could not be saved", "error", err)
	}
}

// shorten makes a text fit to travel.
func shorten(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxReason {
		return text
	}
	cut := maxReason
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s (and %d bytes more)", text[:cut], len(text)-cut)
}
