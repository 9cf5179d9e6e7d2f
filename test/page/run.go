package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
)

const (
	// commandLimit bounds one block typed once.
	commandLimit = 4 * time.Minute
	// repeatLimit bounds the wait for what a page promises, attemptLimit one
	// attempt.
	repeatLimit  = 2 * time.Minute
	attemptLimit = 30 * time.Second
)

// Shell types a page's commands, as /bin/sh with -e.
type Shell struct {
	// Folder is where the commands are typed and the files stand.
	Folder string
	// Env is the commands' environment.
	Env []string
	// Replace puts the names of the place at hand where the page has those
	// of the reader.
	Replace func(text string) (string, error)
}

// Run does what one step says. Its error tells where in the page that stands,
// what was typed and what was printed.
func (s Shell) Run(ctx context.Context, step Step) error {
	var err error
	switch {
	case step.File != "":
		err = s.write(step)
	case step.Repeat:
		err = s.repeat(ctx, step)
	default:
		err = s.once(ctx, step, commandLimit)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", step.Line, err)
	}
	return nil
}

func (s Shell) write(step Step) error {
	content, err := s.Replace(step.Text)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Folder, step.File), []byte(content), 0o600)
}

func (s Shell) repeat(ctx context.Context, step Step) error {
	return lab.Eventually(ctx, repeatLimit, func(ctx context.Context) error { return s.once(ctx, step, attemptLimit) })
}

func (s Shell) once(ctx context.Context, step Step, limit time.Duration) error {
	commands, err := s.Replace(step.Text)
	if err != nil {
		return err
	}
	want, err := s.Replace(step.Output)
	if err != nil {
		return err
	}
	printed, err := s.typed(ctx, commands, limit)
	if err != nil {
		return fmt.Errorf("%w\n%s\nprinted\n%s", err, commands, printed)
	}
	if missing := Missing(printed, want); missing != "" {
		return fmt.Errorf("the output lacks the line\n%s\nof what the page shows;\n%s\nprinted\n%s", missing, commands, printed)
	}
	return nil
}

// typed ends whatever the commands have started, even if they are given up.
func (s Shell) typed(ctx context.Context, commands string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no end within %s", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", commands)
	cmd.Dir, cmd.Env = s.Folder, s.Env
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return output.String(), err
}

// Missing returns the first line of want that does not stand in printed, after
// the lines before it; empty if all do.
func Missing(printed, want string) string {
	lines := strings.Split(printed, "\n")
	for wanted := range strings.Lines(want) {
		wanted = strings.TrimSpace(wanted)
		pattern := regexp.MustCompile(`^\s*` + strings.ReplaceAll(regexp.QuoteMeta(wanted), "…", ".*") + `\s*$`)
		found := false
		for len(lines) > 0 && !found {
			found = pattern.MatchString(lines[0])
			lines = lines[1:]
		}
		if !found {
			return wanted
		}
	}
	return ""
}
