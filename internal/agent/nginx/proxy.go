// Package nginx runs nginx for the agent: it starts nginx, makes it reload and finds
// out whether it took the new files, and checks files with nginx -t.
//
// It never edits a configuration; the bundle's files are the renderer's. What
// it needs of them is the status socket, on which nginx answers the bundle's
// token, and emergencies logged to standard error.
package nginx

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/interlock-lb/interlock/internal/agent"
)

// Options are what nginx needs. All paths are absolute.
type Options struct {
	Binary     string // the program; a name without a slash is looked for in PATH
	ConfigPath string // the main configuration file in place
	// StatusSocket is where nginx answers the token, as the files have it. Every
	// socket beside it is nginx's too.
	StatusSocket string
	TempDir      string // made before nginx is asked anything, as the files have it
	// MaxGenerations is how many older configurations may still have workers that
	// finish their requests; 0: 32. Those of the oldest are ended beyond that.
	MaxGenerations int
	// Children start and wait for nginx.
	Children *agent.Children
	// Stdout is nginx's standard output, to which it may log; nil: discarded.
	Stdout *os.File
	Logger *slog.Logger
}

// Proxy is nginx as the agent sees it.
type Proxy struct {
	options Options
	status  *statusClient
}

// New returns an error if there is no such program.
func New(o Options) (*Proxy, error) {
	binary, err := exec.LookPath(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("looking for nginx: %w", err)
	}
	o.Binary = binary
	if o.Children == nil {
		o.Children = agent.NewChildren()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Proxy{options: o, status: newStatusClient(o.StatusSocket)}, nil
}

// maxOutput bounds what is kept of nginx's answer to a check, in bytes.
const maxOutput = 64 << 10

// Check asks nginx -t about the files below root.
func (p *Proxy) Check(ctx context.Context, root string) error {
	if err := p.makeFolders(); err != nil {
		return err
	}
	output := &head{limit: maxOutput}
	cmd := exec.CommandContext(ctx, p.options.Binary, arguments(root+p.options.ConfigPath, "-t", "-q")...)
	cmd.Stderr = output
	cmd.WaitDelay = time.Second
	if err := p.options.Children.Start(cmd); err != nil {
		return fmt.Errorf("running nginx -t: %w", err)
	}
	err := p.options.Children.Wait(cmd)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("nginx -t did not come to an end: %w", ctx.Err())
	case byItself(err):
		return &agent.Refused{Reason: reason(output.lines(), root, err)}
	default:
		return fmt.Errorf("running nginx -t: %w", err)
	}
}

// checkInPlace is Check for the files in place.
func (p *Proxy) checkInPlace(ctx context.Context) error { return p.Check(ctx, "") }

// ChecksOnLoad is there since nginx does with files that it is told to load what it
// does with nginx -t, and then goes on with those before or does not start.
func (p *Proxy) ChecksOnLoad() {}

// arguments are those that a check and a start have in common. nginx stays in
// the foreground, and says on standard error what it has to say before it
// knows its logs.
func arguments(config string, more ...string) []string {
	return append(more, "-c", config, "-e", "stderr", "-g", "daemon off;")
}

// Start starts nginx with the files in place.
func (p *Proxy) Start(ctx context.Context, token string) (agent.Process, error) {
	if err := p.makeFolders(); err != nil {
		return nil, err
	}
	if err := removeStaleSockets(p.options.StatusSocket); err != nil {
		return nil, err
	}
	started, err := p.launch()
	if err != nil {
		return nil, err
	}
	if err := started.confirm(ctx, token, 0); err != nil {
		started.Kill()
		<-started.Done()
		return nil, err
	}
	return started, nil
}

func (p *Proxy) launch() (*process, error) {
	// A pipe of our own: exec.Cmd's would keep Wait from returning for as long
	// as any worker holds it, the orphans of a killed nginx among them.
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting nginx: %w", err)
	}
	defer writer.Close()
	// No context ends nginx: the agent asks it to, or kills its whole group.
	cmd := exec.CommandContext(context.Background(), p.options.Binary, arguments(p.options.ConfigPath)...)
	if p.options.Stdout != nil {
		cmd.Stdout = p.options.Stdout
	}
	cmd.Stderr = writer
	// A group of its own, by which its workers are found; and no signal that a
	// terminal sends to the agent's group reaches it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.options.Children.Start(cmd); err != nil {
		reader.Close()
		return nil, fmt.Errorf("starting nginx: %w", err)
	}
	started := &process{
		cmd: cmd, children: p.options.Children, status: p.status, log: p.options.Logger, check: p.checkInPlace,
		socketDir:   filepath.Dir(p.options.StatusSocket),
		generations: cmp.Or(p.options.MaxGenerations, maxGenerations), done: make(chan struct{}),
	}
	go started.watch(reader)
	return started, nil
}

// makeFolders makes the folders that nginx expects to find.
func (p *Proxy) makeFolders() error {
	for _, folder := range []string{p.options.TempDir, filepath.Dir(p.options.StatusSocket)} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("making a folder for nginx: %w", err)
		}
	}
	return nil
}

// head keeps the beginning of what is written to it.
type head struct {
	buf   bytes.Buffer
	limit int
}

func (h *head) Write(data []byte) (int, error) {
	room := h.limit - h.buf.Len()
	h.buf.Write(data[:min(len(data), room)])
	return len(data), nil
}

func (h *head) lines() []string {
	var lines []string
	for line := range bytes.Lines(h.buf.Bytes()) {
		lines = append(lines, string(bytes.TrimRight(line, "\r\n")))
	}
	return lines
}
