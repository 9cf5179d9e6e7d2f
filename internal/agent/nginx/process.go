package nginx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

const (
	// lookInterval is the pause between two looks at nginx's processes or questions to
	// its status socket. Each takes CPU from workers that are closing connections: with
	// 5 ms an agent took half as much again where nginx reloads once a second.
	lookInterval = 20 * time.Millisecond
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
	ctx, cancel := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	beside.Go(func() { p.endSilent(ctx) })
	p.exit = p.children.Wait(p.cmd)
	cancel()
	beside.Wait()
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
	if err := removeUnboundSockets(p.socketDir); err != nil {
		p.log.Warn("old sockets may be in nginx's way", "error", err)
	}
	mark := p.words.mark()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("telling nginx to reload: %w", err)
	}
	if err := p.confirmLoad(ctx, token, mark, old); err != nil {
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

// confirmLoad is confirm for a master that was told to load files, whose workers from
// before answer too: it takes new ones for a sign that it has. A master that refuses
// goes on; if it stays silent, another nginx is asked about the files.
func (p *process) confirmLoad(ctx context.Context, token string, mark int, old []int) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	silence, verdict := newSilence(p.group()), make(chan error, 1)
	return p.await(ctx, mark, func() error {
		if silence.lasts() && len(p.words.since(mark)) == 0 {
			asking.Go(func() { verdict <- p.check(asked) })
		}
		select {
		case err := <-verdict:
			if refused := unsure(err); refused != nil {
				return refused
			}
		default:
		}
		if err := p.renewed(old); err != nil {
			return err
		}
		return p.answers(ctx, token)
	})
}

// renewed is nil when there are workers that were not there before.
func (p *process) renewed(old []int) error {
	now, err := workers(p.group())
	if err == nil && !slices.ContainsFunc(now, func(pid int) bool { return !slices.Contains(old, pid) }) {
		err = errors.New("it has started no new workers")
	}
	if err != nil {
		return notYet{err}
	}
	return nil
}

// unsure is what another nginx has found wrong with the files. The one that serves may
// think otherwise, and only take long.
func unsure(err error) error {
	var refused *agent.Refused
	if errors.As(err, &refused) {
		return &agent.Refused{Reason: refused.Reason, Unsure: true}
	}
	return nil
}

// notYet is why a question has to be asked again.
type notYet struct{ error }

// confirm waits until nginx answers the token.
func (p *process) confirm(ctx context.Context, token string, mark int) error {
	return p.await(ctx, mark, func() error { return p.answers(ctx, token) })
}

func (p *process) answers(ctx context.Context, token string) error {
	answer, err := p.status.token(ctx)
	if err == nil && answer != token {
		err = errors.New("its status socket answers for another configuration")
	}
	if err != nil {
		return notYet{err}
	}
	return nil
}

// await asks again and again for as long as the answer is notYet. It ends early when
// nginx says that it will not serve the files, and when it has ended. Only what nginx
// said since mark counts.
func (p *process) await(ctx context.Context, mark int, question func() error) error {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	var why error // a question that ctx cut short tells nothing
	for {
		if gaveUp(p.words.since(mark)) {
			p.settle(ctx)
			return &agent.Refused{Reason: reason(p.words.since(mark), "", nil)}
		}
		err := question()
		var again notYet
		if !errors.As(err, &again) {
			return err
		}
		if ctx.Err() == nil || why == nil {
			why = again.error
		}
		select {
		case <-p.done:
			return p.whyEnded(mark)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return p.whyNot(mark, why)
			}
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
func (p *process) whyNot(mark int, otherwise error) error {
	why := otherwise.Error()
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
