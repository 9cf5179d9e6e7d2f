package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/wire"
)

// apply makes the proxy serve next, or leaves it with what it served before.
func (a *Agent) apply(ctx context.Context, next served) error {
	if a.process != nil && a.good != nil && a.good.version == next.version {
		a.took(next)
		return nil
	}
	log := a.log.With("bundle", next.version, "table", next.tableVersion)
	err := a.take(ctx, next)
	var refused *Refused
	switch {
	case err == nil:
		log.Info("bundle served")
		a.took(next)
		return nil
	case ctx.Err() != nil:
		return ErrEnded
	case errors.As(err, &refused):
		refused = &Refused{Reason: wire.Reason(refused.Reason)}
		log.Warn("bundle refused", "reason", refused.Reason)
		a.board.refuse(next.version, refused.Reason)
		return refused
	default:
		log.Warn("bundle not applied; it may be later", "error", err)
		return errors.New(wire.Reason(err.Error()))
	}
}

// examine says what the proxy would say to next.
func (a *Agent) examine(ctx context.Context, next served) error {
	err := a.prepare(ctx, next)
	var refused *Refused
	switch {
	case err == nil:
		a.removeSensitive(next)
		return nil
	case ctx.Err() != nil:
		return ErrEnded
	case errors.As(err, &refused):
		return &Refused{Reason: wire.Reason(refused.Reason)}
	default:
		return errors.New(wire.Reason(err.Error()))
	}
}

// take goes through the steps that a bundle must pass.
func (a *Agent) take(ctx context.Context, next served) error {
	if err := a.prepare(ctx, next); err != nil {
		return err
	}
	_, others := divide(next.bundle.Files)
	if err := a.files.place(others); err != nil {
		a.putBack(next) // the proxy does not know of it
		return err
	}
	if err := a.activate(ctx, next.bundle.Token); err != nil {
		if back := a.putBack(next); back {
			a.goBack(ctx, err)
		}
		return err
	}
	return nil
}

// prepare has the proxy look at a bundle whose sensitive files it puts in place
// for that. They stay there unless the bundle is refused.
func (a *Agent) prepare(ctx context.Context, next served) error {
	if err := a.files.accept(&next.bundle); err != nil {
		return &Refused{Reason: err.Error()}
	}
	if err := a.addSensitive(next); err != nil {
		return err
	}
	err := a.check(ctx, next)
	if err != nil {
		a.removeSensitive(next)
	}
	return err
}

// addSensitive places the sensitive files, beside those that the proxy has: they
// may be nowhere else, not even for a check. Names are never used anew, so that
// whatever the proxy reads meanwhile finds what it always did.
func (a *Agent) addSensitive(next served) error {
	if a.good != nil {
		if name := changed(a.good.bundle.Files, next.bundle.Files); name != "" {
			return &Refused{Reason: fmt.Sprintf("the bundle changes the content of the sensitive file %.200q, which is in use: another content needs another name", name)}
		}
	}
	err := a.files.place(a.freshSensitive(next))
	if err != nil {
		a.removeSensitive(next)
	}
	return err
}

// freshSensitive are the sensitive files that are not in place: of thousands of
// keys, few are new.
func (a *Agent) freshSensitive(next served) (fresh []render.File) {
	inPlace := make(map[string]bool)
	if a.process != nil && a.good != nil {
		for _, file := range a.good.bundle.Files {
			inPlace[file.Path] = true
		}
	}
	sensitive, _ := divide(next.bundle.Files)
	return slices.DeleteFunc(sensitive, func(file render.File) bool { return inPlace[file.Path] })
}

// removeSensitive takes back what addSensitive has placed.
func (a *Agent) removeSensitive(failed served) {
	sensitive, _ := divide(failed.bundle.Files)
	var keep []render.File
	if a.good != nil {
		keep = a.good.bundle.Files
	}
	a.files.remove(sensitive, keep)
}

// changed returns the path of a sensitive file that is in both lists with
// another content, or nothing.
func changed(before, after []render.File) string {
	known := make(map[string]render.Content)
	sensitive, _ := divide(before)
	for _, file := range sensitive {
		known[file.Path] = file.Content
	}
	for _, file := range after {
		if content, both := known[file.Path]; both && !content.Equal(file.Content) {
			return file.Path
		}
	}
	return ""
}

func divide(list []render.File) (sensitive, others []render.File) {
	for _, file := range list {
		if file.Sensitive {
			sensitive = append(sensitive, file)
		} else {
			others = append(others, file)
		}
	}
	return sensitive, others
}

// check lets the proxy look at the files before they are in place.
func (a *Agent) check(ctx context.Context, next served) error {
	_, others := divide(next.bundle.Files)
	root, err := a.files.stage(others)
	if err != nil {
		return err
	}
	defer unstage(root)
	ctx, cancel := context.WithTimeout(ctx, a.options.CheckTimeout)
	defer cancel()
	return a.options.Proxy.Check(ctx, root)
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

// putBack restores the files from before a bundle that failed, and says whether
// there are any and they are all in place.
func (a *Agent) putBack(failed served) bool {
	if a.good == nil {
		a.files.remove(failed.bundle.Files, nil)
		return false
	}
	err := a.files.place(a.good.bundle.Files)
	if err != nil {
		a.log.Error("the files from before could not be put back; the proxy is left as it is", "error", err)
	}
	a.files.remove(failed.bundle.Files, a.good.bundle.Files)
	return err == nil
}

// goBack makes a proxy that may have taken up new files take up those from
// before, which are in place again, and starts it anew where it does not.
func (a *Agent) goBack(ctx context.Context, cause error) {
	var refused *Refused
	if a.process == nil || errors.As(cause, &refused) || errors.Is(cause, ErrNotAsked) || ctx.Err() != nil {
		return
	}
	err := a.activate(ctx, a.good.bundle.Token)
	switch {
	case err == nil:
	case errors.Is(err, ErrNotAsked):
		// What keeps the agent from asking is no fault of the proxy's, which
		// serves one of the two.
		a.log.Error("the proxy could not be told to return to the bundle before", "error", err)
	default:
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
	a.board.serve(&next)
	if unchanged {
		return
	}
	if err := a.store.save(&next); err != nil {
		// It is served all the same; a restart would begin with an older one.
		a.log.Error("the last good bundle could not be saved", "error", err)
	}
}
