package nginx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
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
	// lastWords bounds the wait for the rest of what nginx says that gives up.
	lastWords = time.Second
)

// process is a running nginx: its master and whatever that has started.
type process struct {
	cmd      *exec.Cmd
	children *agent.Children
	status   *statusClient
	log      *slog.Logger
	// check asks another nginx about the files in place.
	check     func(context.Context) error
	socketDir string
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
	sockets, err := socketsIn(p.socketDir)
	if err != nil {
		return fmt.Errorf("%w: %w", agent.ErrNotAsked, err)
	}
	next := newSuccession(p.group(), old)
	mark := p.words.mark()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("telling nginx to reload: %w", err)
	}
	if err := p.handOver(ctx, next, mark); err != nil {
		if refusal(err) != nil {
			p.removeSocketsBut(sockets)
		}
		return err
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

// removeSocketsBut removes sockets that nginx has opened for files that it then
// refused. It closes them, but leaves them where they are.
func (p *process) removeSocketsBut(before []string) {
	if err := removeSockets(p.socketDir, before); err != nil {
		p.log.Error("nginx may not be able to listen on its own sockets", "error", err)
	}
}

// handOver waits until nginx has new workers, and has the old ones leave.
func (p *process) handOver(ctx context.Context, next *succession, mark int) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	silence, verdict := newSilence(p.group()), make(chan error, 1)
	err := p.await(ctx, lookInterval, mark, func() (bool, error) {
		if next.done() {
			return true, nil
		}
		if silence.lasts() && len(p.words.since(mark)) == 0 {
			asking.Go(func() { verdict <- p.check(asked) })
		}
		select {
		case err := <-verdict:
			return false, refusal(err)
		default:
			return false, nil
		}
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return p.whyNot(mark, "it has started no new workers")
	}
	return err
}

// refusal is what is wrong with the files, if that is what an error says.
func refusal(err error) error {
	var refused *agent.Refused
	if errors.As(err, &refused) {
		return refused
	}
	return nil
}

// confirm waits until nginx answers the token.
func (p *process) confirm(ctx context.Context, token string, mark int) error {
	why := "its status socket answers for another configuration"
	err := p.await(ctx, askInterval, mark, func() (bool, error) {
		answer, err := p.status.token(ctx)
		if err != nil && ctx.Err() == nil { // a question that was cut short tells nothing
			why = err.Error()
		}
		return err == nil && answer == token, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return p.whyNot(mark, why)
	}
	return err
}

// await asks again and again whether something has come about. It ends early with an
// error of the question, when nginx says that it will not serve the files, and when it
// has ended. Only what nginx said since mark counts.
func (p *process) await(ctx context.Context, pause time.Duration, mark int, question func() (bool, error)) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		if gaveUp(p.words.since(mark)) {
			p.settle(ctx)
			return &agent.Refused{Reason: reason(p.words.since(mark), "", nil)}
		}
		if done, err := question(); done || err != nil {
			return err
		}
		select {
		case <-p.done:
			return p.whyEnded(mark)
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// settle lets nginx say the rest of what it has to say, and close what it has opened
// for files that it refuses. The next reload must not hear it.
func (p *process) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if master, err := agent.OSProcessOf(p.group()); err != nil || master.Asleep {
			return
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
func (p *process) whyNot(mark int, otherwise string) error {
	why := otherwise
	if said := p.words.since(mark); len(emergencies(said)) > 0 {
		why = reason(said, "", nil)
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
