package swarmkit

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// object is what every object of SwarmKit has.
type object interface {
	GetId() string
	GetMeta() *swarmpb.Meta
}

func versionOf(o object) uint64 { return o.GetMeta().GetVersion().GetIndex() }

// objectOf is nil for a kind that was not asked for.
func objectOf(o *swarmpb.Object) object {
	switch o := o.GetObject().(type) {
	case *swarmpb.Object_Node:
		return o.Node
	case *swarmpb.Object_Service:
		return o.Service
	case *swarmpb.Object_Network:
		return o.Network
	case *swarmpb.Object_Task:
		return o.Task
	case *swarmpb.Object_Secret:
		return o.Secret
	case *swarmpb.Object_Config:
		return o.Config
	default:
		return nil
	}
}

// lists are all objects, each list as its leader had it at one moment.
type lists struct {
	services []*swarmpb.Service
	tasks    []*swarmpb.Task
	nodes    []*swarmpb.Node
	networks []*swarmpb.Network
	secrets  []*swarmpb.Secret
	configs  []*swarmpb.Config
}

func (l *lists) each(do func(object)) {
	eachOf(l.services, do)
	eachOf(l.tasks, do)
	eachOf(l.nodes, do)
	eachOf(l.networks, do)
	eachOf(l.secrets, do)
	eachOf(l.configs, do)
}

func eachOf[O object](list []O, do func(object)) {
	for _, o := range list {
		do(o)
	}
}

// lister asks the managers' leader for lists over one connection. A follower passes
// that on.
type lister struct {
	conn  grpc.ClientConnInterface
	sizes *sizes
	named []string // see Options.Configs
}

func (s *Source) lister(conn grpc.ClientConnInterface) lister {
	return lister{conn: conn, sizes: &s.sizes, named: s.opts.Configs}
}

// everything has of configs those that Interlock made and those that are named.
func (r lister) everything(ctx context.Context) (*lists, error) {
	var l lists
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		l.services, err = list(ctx, r, "Services", nil, func(m *swarmpb.Services) []*swarmpb.Service { return m.GetList() })
		return err
	})
	group.Go(func() (err error) {
		l.tasks, err = list(ctx, r, "Tasks", nil, func(m *swarmpb.Tasks) []*swarmpb.Task { return m.GetList() })
		return err
	})
	group.Go(func() (err error) {
		l.nodes, err = r.nodes(ctx)
		return err
	})
	group.Go(func() (err error) {
		l.networks, err = list(ctx, r, "Networks", nil, func(m *swarmpb.Networks) []*swarmpb.Network { return m.GetList() })
		return err
	})
	group.Go(func() (err error) {
		l.secrets, err = list(ctx, r, "Secrets", nil, func(m *swarmpb.Secrets) []*swarmpb.Secret { return m.GetList() })
		return err
	})
	group.Go(func() (err error) {
		l.configs, err = r.configs(ctx)
		return err
	})
	return &l, group.Wait()
}

// configs does not read all: a config is listed with its content, up to a
// megabyte each.
func (r lister) configs(ctx context.Context) ([]*swarmpb.Config, error) {
	byRole := map[string]string{plan.LabelRole: ""}
	all, err := list(ctx, r, "Configs", byRole, func(m *swarmpb.Configs) []*swarmpb.Config { return m.GetList() })
	if err != nil {
		return nil, err
	}
	for _, name := range r.named {
		answer := new(swarmpb.Configs)
		request := &swarmpb.ListRequest{Filters: &swarmpb.ListRequest_Filters{Names: []string{name}}}
		if err := r.conn.Invoke(ctx, methodList+"Configs", request, answer); err != nil {
			return nil, fmt.Errorf("reading the Swarm's config %s: %w", name, inWords(err))
		}
		for _, config := range answer.GetList() {
			if !ours(config.GetSpec().GetAnnotations()) {
				all = append(all, config)
			}
		}
	}
	return all, nil
}

const methodList = "/docker.swarmkit.v1.Control/List" // and the kind

func (r lister) nodes(ctx context.Context) ([]*swarmpb.Node, error) {
	return list(ctx, r, "Nodes", nil, func(m *swarmpb.Nodes) []*swarmpb.Node { return m.GetList() })
}

// digits are what IDs are written in.
const digits = "0123456789abcdefghijklmnopqrstuvwxyz"

// maxPrefix is how many digits of an ID a list is split by at most: into 1,296.
const maxPrefix = 2

// list reads one kind of object whole, or by the beginnings of their IDs if the
// whole is too large for one message: for us, or for the follower that we ask,
// which takes 4 MiB from its leader. The parts are not of one moment then; the
// stream, which is open already, brings what changed between them.
func list[M any, P interface {
	*M
	proto.Message
}, O any](ctx context.Context, r lister, kind string, labels map[string]string, of func(P) []O) ([]O, error) {
	var part func(prefix string) ([]O, error)
	part = func(prefix string) ([]O, error) {
		if !r.sizes.splits(kind + prefix) {
			request := &swarmpb.ListRequest{Filters: &swarmpb.ListRequest_Filters{Labels: labels}}
			if prefix != "" {
				request.Filters.IdPrefixes = []string{prefix}
			}
			answer := P(new(M))
			err := r.conn.Invoke(ctx, methodList+kind, request, answer)
			if err == nil {
				return of(answer), nil
			}
			if !tooLarge(err) || len(prefix) == maxPrefix {
				return nil, inWords(err)
			}
		}
		var all []O
		for _, digit := range digits {
			more, err := part(prefix + string(digit))
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
		r.sizes.split(kind+prefix, len(all))
		return all, nil
	}
	all, err := part("")
	if err != nil {
		return nil, fmt.Errorf("reading the Swarm's %s: %w", kind, err)
	}
	return all, nil
}

func tooLarge(err error) bool { return status.Code(err) == codes.ResourceExhausted }

// inWords is what a server said, without gRPC's words around it.
func inWords(err error) error {
	switch s, ok := status.FromError(err); {
	case !ok:
		return err
	case s.Code() == codes.Canceled:
		return context.Canceled
	case s.Code() == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	default:
		return errors.New(s.Message())
	}
}
