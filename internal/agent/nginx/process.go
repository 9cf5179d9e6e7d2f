package nginx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

const (
	// askInterval is the pause between two questions to the status socket.
	askInterval = 20 * time.Millisecond
	// retireTimeout bounds the wait for old workers to stop taking requests.
	retireTimeout = 5 * time.Second
	// maxGenerations is Options.MaxGenerations where that is 0.
	maxGenerations = 32
	// lastWords bounds the wait for the rest of what a dead nginx has said.
	lastWords = time.Second
)

// process is a running nginx: its master and whatever that has started.
type process struct {
	cmd      *exec.Cmd
	children *agent.Children
	status   *statusClient
	log      *slog.Logger
	// generations are as in Options.
	generations int
	words       words
	exit        error // of the master; may be read once done is closed
	done        chan struct{}
}

// watch waits for the master's end and clears up after it. It is the only
// goroutine that outlives Start, and ends with the process.
func (p *process) watch(stderr *os.File) {
	defer close(p.done)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		p.words.hear(stderr, p.log)
	}()
	p.exit = p.children.Wait(p.cmd)
	if orphans := p.retireOrphans(); !orphans {
		// With nobody left that could write, the pipe ends by itself.
		wait(heard, lastWords)
	}
	stderr.Close()
	<-heard
}

// Reload makes nginx read its files anew. Workers that served the files from
// before may finish their requests, but take no new ones when it returns.
func (p *process) Reload(ctx context.Context, token string) error {
	old, err := workers(p.group())
	if err != nil {
		return fmt.Errorf("%w: %w", agent.ErrNotAsked, err)
	}
	mark := p.words.mark()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("telling nginx to reload: %w", err)
	}
	if err := p.confirm(ctx, token, mark); err != nil {
		return err
	}
	// nginx serves the new files. An old worker that is stuck is no reason to
	// go back to the old ones.
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	retired(ctx, old)
	if ended := limitRetiring(p.group(), p.generations*max(len(old), 1)); ended > 0 {
		p.log.Warn("old workers ended before their last request, as there were too many", "workers", ended)
	}
	return nil
}

// confirm waits until nginx answers the token, or says that it will not. Only
// what it said since mark counts.
func (p *process) confirm(ctx context.Context, token string, mark int) error {
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	var answered error // the last time; a question that ctx cut short tells nothing
	for {
		said := p.words.since(mark)
		if gaveUp(said) {
			return &agent.Refused{Reason: reason(said, "", nil)}
		}
		answer, err := p.status.token(ctx)
		if err == nil && answer == token {
			return nil
		}
		if ctx.Err() == nil {
			answered = err
		}
		select {
		case <-p.done:
			return p.whyEnded(mark)
		case <-ctx.Done():
			return p.whyNot(ctx, mark, answered)
		case <-ticker.C:
		}
	}
}

// whyEnded is called after done. Only a nginx that gave up by itself has judged
// its files: one that was killed has not.
func (p *process) whyEnded(mark int) error {
	said := p.words.since(mark)
	text := "nginx has ended: " + reason(said, "", p.exit)
	if byItself(p.exit) && len(emergencies(said)) > 0 {
		return &agent.Refused{Reason: text}
	}
	return errors.New(text)
}

// byItself says whether a program ended in failure, and not by a signal.
func byItself(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Exited()
}

// whyNot says what is known when the time is over.
func (p *process) whyNot(ctx context.Context, mark int, asking error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	why := "its status socket answers for another configuration"
	if asking != nil {
		why = asking.Error()
	}
	if emergencies := emergencies(p.words.since(mark)); len(emergencies) > 0 {
		why = reason(p.words.since(mark), "", nil)
	}
	return fmt.Errorf("nginx did not serve the configuration in time: %s", why)
}

// Quit lets running requests finish.
func (p *process) Quit() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) }

// Kill ends master and workers.
func (p *process) Kill() {
	select {
	case <-p.done: // the group's number may be somebody else's by now
	default:
		_ = syscall.Kill(-p.group(), syscall.SIGKILL)
	}
}

// Done is closed when the master has ended and no worker takes requests.
func (p *process) Done() <-chan struct{} { return p.done }

// group is the process group of the master and its workers.
func (p *process) group() int { return p.cmd.Process.Pid }

func wait(done <-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
