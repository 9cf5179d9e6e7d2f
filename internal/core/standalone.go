package core

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Served is what came of serving a table.
type Served struct {
	Findings []render.Finding
	Missing  []string // names of secrets that are not at hand
}

// dockersGrace is how long Docker lets a container finish for which nothing is said.
const dockersGrace = 10 * time.Second

// StandaloneOptions are what a standalone needs.
type StandaloneOptions struct {
	Source Source
	// Cluster is the service cluster that is served; empty: the default one.
	Cluster string
	// Container is the ID of the container that this process runs in; empty outside.
	Container    string
	PollInterval time.Duration
	// Serve serves a table from now on. On an error the one before stands.
	Serve func(*route.Table) (Served, error)
	// Grace is told once how long Docker lets this container finish before it is
	// killed; nil: nobody wants to know.
	Grace func(time.Duration)
	// Knock reports whether an address accepts a connection; nil: [probe.Knock].
	Knock  func(context.Context, netip.AddrPort) bool
	Logger *slog.Logger
}

// Standalone is the control loop of a process that serves clients itself: it
// keeps no services and changes nothing in Swarm.
type Standalone struct {
	options StandaloneOptions
	core    *Core
	desk    admission.Desk
	asker   *asker
	started time.Time // the first pass; zero before
	own     ownTask
	routes  route.Memory
	// graceTold says that Grace was called: a container keeps what it began with.
	graceTold bool
}

// NewStandalone prepares a standalone; Run starts it.
func NewStandalone(o StandaloneOptions) *Standalone {
	s := &Standalone{options: o}
	s.core = newCore(Options{Settings: &settings.Settings{PollInterval: o.PollInterval}, Source: o.Source, Container: o.Container, Logger: o.Logger})
	s.core.pass = s.pass
	s.asker = newAsker(o.Knock, s.core.answer)
	return s
}

// Run works until ctx ends.
func (s *Standalone) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.options.Source.Run(ctx, s.core.read) })
	group.Go(func() error { return s.core.watchHealth(ctx) })
	group.Go(func() error { return s.core.loop(ctx) })
	group.Go(func() error { return s.asker.run(ctx) })
	return group.Wait()
}

// pass serves what one reading asks for. Until Swarm shows the own task it is not
// known which networks apps can be reached over, and nothing is served yet.
func (s *Standalone) pass(_ context.Context, snap *snapshot.Snapshot, now time.Time) ([]problem.Problem, time.Duration) {
	if s.started.IsZero() {
		s.started = now
	}
	task := s.own.find(snap, s.options.Container)
	if left := s.started.Add(ownTaskVisible).Sub(now); task == nil && s.options.Container != "" && left > 0 {
		return nil, left
	}
	s.tellGrace(snap, task)
	clusters := []route.Cluster{{Name: s.options.Cluster, Networks: networksOf(snap, task)}}
	admitted := admit(&s.desk, snap, clusters, s.asker.ask, now)
	built, problems := s.routes.Build(admitted.Snapshot, clusters)
	problems = append(problems, admitted.Problems...)
	table := built[0].Table
	served, err := s.options.Serve(table)
	if err != nil {
		problems = append(problems, problem.Problem{Kind: problem.RenderFailed, Message: fmt.Sprintf("the new table cannot be served, and the one before goes on: %v", err)})
	}
	for _, f := range served.Findings {
		p := ownersProblem(table, f)
		p.Message = f.Host + ": " + p.Message
		problems = append(problems, p)
	}
	for _, name := range served.Missing {
		problems = append(problems, problem.Problem{Kind: problem.NoSecret, Value: name, Message: fmt.Sprintf(
			"the secret %[1]s, which a label names, is not at hand, and its hosts are not served over TLS: docker service update --secret-add %[1]s and the name of the standalone's service", name)})
	}
	return slices.Compact(problem.Sort(problems)), admitted.Again
}

// tellGrace tells how long the container of a task may take to end.
func (s *Standalone) tellGrace(snap *snapshot.Snapshot, task *snapshot.Task) {
	if task == nil || s.graceTold || s.options.Grace == nil {
		return
	}
	service := snap.Service(task.ServiceID)
	if service == nil {
		return
	}
	s.graceTold = true
	grace := dockersGrace
	if set := service.Spec.StopGracePeriod; set != nil {
		grace = *set
	}
	s.options.Grace(grace)
}

// networksOf are the IDs of the networks over which a task reaches others.
func networksOf(snap *snapshot.Snapshot, task *snapshot.Task) []string {
	if task == nil {
		return nil
	}
	var ids []string
	for _, a := range task.Attachments {
		if n := snap.Network(a.NetworkID); n != nil && !n.Ingress {
			ids = append(ids, a.NetworkID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
