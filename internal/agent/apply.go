package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	err := a.prepare(next)
	if err == nil {
		err = a.check(ctx, next)
		a.removeSensitive(next)
	}
	var refused *Refused
	switch {
	case err == nil:
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
	if err := a.prepare(next); err != nil {
		return err
	}
	if a.checksFirst() {
		if err := a.check(ctx, next); err != nil {
			a.removeSensitive(next)
			return err
		}
	}
	before := a.inPlace
	a.inPlace = nil
	_, others := divide(changesOf(before, &next))
	if err := a.files.place(others); err != nil {
		a.putBack(before, next) // the proxy does not know of it
		return err
	}
	if err := a.activate(ctx, next.bundle.Token); err != nil {
		a.wary = a.wary || a.troubled(err)
		if back := a.putBack(before, next); back {
			a.goBack(ctx, err)
		}
		return err
	}
	a.inPlace, a.wary = &next, false
	return nil
}

// troubled says whether a bundle that was not served did more than to be refused.
func (a *Agent) troubled(cause error) bool {
	var refused *Refused
	select {
	case <-a.processDone():
		return true
	default:
		return !errors.As(cause, &refused)
	}
}

// checksFirst says whether the proxy is asked about a bundle before it is told to
// load it. Where loading is as good a question, a question of its own would have it
// read everything twice. But a bundle may end a program that reads it: that must not
// happen to the one that serves each time that it is tried.
func (a *Agent) checksFirst() bool {
	_, onLoad := a.options.Proxy.(LoadChecker)
	return !onLoad || a.wary
}

// changesOf are the files of a bundle that another one has not, or not the same.
// All are, where there is no other one.
func changesOf(before, next *served) []render.File {
	if before == nil {
		return next.bundle.Files
	}
	changed, _ := render.Differences(&before.bundle, &next.bundle)
	return changed
}

// prepare puts the sensitive files of a bundle in place, so that the proxy can look
// at it.
func (a *Agent) prepare(next served) error {
	a.lookInPlace()
	changed := changesOf(a.good, &next)
	if err := a.files.accept(&next.bundle, changed); err != nil {
		return &Refused{Reason: err.Error()}
	}
	return a.addSensitive(next, changed)
}

// lookInPlace forgets what is in place if somebody has removed or cut any of it.
// Else the proxy would refuse whatever comes for a file that the bundle has, and
// that nobody would write again.
func (a *Agent) lookInPlace() {
	if a.inPlace == nil {
		return
	}
	for i := range a.inPlace.bundle.Files {
		file := &a.inPlace.bundle.Files[i]
		if file.Sensitive {
			continue
		}
		if info, err := os.Lstat(file.Path); err != nil || !info.Mode().IsRegular() || info.Size() != int64(file.Size()) {
			a.log.Warn("somebody has changed or removed a file of the bundle; with the next one all are written anew", "file", file.Path)
			a.inPlace = nil
			return
		}
	}
}

// addSensitive places the sensitive files, beside those that the proxy has: they
// may be nowhere else, not even for a check. Names are never used anew, so that
// whatever the proxy reads meanwhile finds what it always did. Of thousands of
// keys, few are new.
func (a *Agent) addSensitive(next served, changed []render.File) error {
	for _, file := range changed {
		if before := a.goodFile(file.Path); before != nil && before.Sensitive && !before.Equal(file.Content) {
			return &Refused{Reason: fmt.Sprintf("the bundle changes the content of the sensitive file %.200q, which is in use: another content needs another name", file.Path)}
		}
	}
	fresh, _ := divide(changed)
	if a.process == nil {
		fresh, _ = divide(next.bundle.Files)
	}
	err := a.files.place(fresh)
	if err != nil {
		a.removeSensitive(next)
	}
	return err
}

// goodFile is the file of that path in the last good bundle; nil: there is none.
func (a *Agent) goodFile(path string) *render.File {
	if a.good == nil {
		return nil
	}
	return a.good.bundle.File(path)
}

// removeSensitive takes back what addSensitive has placed.
func (a *Agent) removeSensitive(failed served) {
	sensitive, _ := divide(changesOf(a.good, &failed))
	a.files.remove(slices.DeleteFunc(sensitive, func(file render.File) bool { return a.goodFile(file.Path) != nil }))
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
	_, changed := divide(changesOf(a.inPlace, &next))
	staged, check := others, a.options.Proxy.Check
	if p, is := a.options.Proxy.(ChangeChecker); is {
		staged = changed
		check = func(ctx context.Context, root string) error { return p.CheckChange(ctx, root, others) }
	}
	root, err := a.files.stage(staged, changed)
	if err != nil {
		return err
	}
	defer unstage(root)
	ctx, cancel := context.WithTimeout(ctx, a.options.CheckTimeout)
	defer cancel()
	return check(ctx, root)
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
// there are any and they are all in place. Before is what was in place then.
func (a *Agent) putBack(before *served, failed served) bool {
	if a.good == nil {
		a.files.remove(failed.bundle.Files)
		return false
	}
	back := a.good.bundle.Files
	if before == a.good {
		back = changesOf(&failed, a.good)
	}
	err := a.files.place(back)
	if err != nil {
		a.log.Error("the files from before could not be put back; the proxy is left as it is", "error", err)
	} else {
		a.inPlace = a.good
	}
	_, added := render.Differences(&failed.bundle, &a.good.bundle)
	a.files.remove(added)
	return err == nil
}

// goBack makes a proxy that may have taken up new files take up those from
// before, which are in place again, and starts it anew where it does not.
func (a *Agent) goBack(ctx context.Context, cause error) {
	var refused *Refused
	if a.process == nil || errors.As(cause, &refused) && !refused.Unsure || errors.Is(cause, ErrNotAsked) || ctx.Err() != nil {
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
	before := a.good
	if before != nil {
		_, gone := render.Differences(&before.bundle, &next.bundle)
		a.files.remove(gone)
	}
	a.good = &next
	if a.inPlace != nil && a.inPlace.version == next.version {
		a.inPlace = a.good
	}
	a.retry.stop()
	a.board.serve(&next)
	if before != nil && before.version == next.version && before.tableVersion == next.tableVersion {
		return
	}
	a.save()
}
