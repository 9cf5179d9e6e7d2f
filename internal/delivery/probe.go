package delivery

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/admission"
)

// askers is how many proxies of a cluster are asked at a time. One that can
// connect is enough; several, since one may be cut off from where a task is.
const askers = 3

// Probe has a cluster's proxies find out which addresses accept connections, in
// the place of those from before, and returns at once what is known already. The
// channel of Statuses is closed when more is.
func (d *Deliverer) Probe(cluster string, addresses []netip.AddrPort) admission.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	inquiry := d.inquiries[cluster]
	if inquiry == nil {
		if len(addresses) == 0 {
			return admission.Answer{}
		}
		inquiry = new(admission.Inquiry)
		d.inquiries[cluster] = inquiry
	}
	if inquiry.Ask(addresses) {
		signal(d.changed)
	}
	return admission.Answer{Accepts: inquiry.Accepts(), Asked: len(d.askers(cluster)) > 0}
}

// askers are the proxies of a cluster that are asked. The caller holds mu.
func (d *Deliverer) askers(cluster string) []target {
	var able []target
	for t, s := range d.statuses {
		if t.cluster == cluster && s.Connected && !d.unable[t] {
			able = append(able, t)
		}
	}
	slices.SortFunc(able, func(a, b target) int {
		return cmp.Or(strings.Compare(a.Task, b.Task), a.Addr.Compare(b.Addr))
	})
	return able[:min(len(able), askers)]
}

// question is what one proxy is to be asked.
func (d *Deliverer) question(t target) admission.Question {
	d.mu.Lock()
	defer d.mu.Unlock()
	if inquiry := d.inquiries[t.cluster]; inquiry != nil && slices.Contains(d.askers(t.cluster), t) {
		return inquiry.Question()
	}
	return admission.Question{}
}

// accepted takes a proxy's word.
func (d *Deliverer) accepted(t target, round uint64, address netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if inquiry := d.inquiries[t.cluster]; inquiry != nil && inquiry.Accept(round, address) {
		d.announce()
	}
}

// setAble says whether a proxy can be asked. Others may have to take its place.
func (d *Deliverer) setAble(t target, able bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if able {
		delete(d.unable, t)
	} else {
		d.unable[t] = true
		d.announce()
	}
	signal(d.changed)
}

// probe asks the proxy whatever it is to be asked. It fails if the connection has.
func (s *session) probe(ctx context.Context) error {
	d, t := s.courier.deliverer, s.courier.target
	d.setAble(t, true)
	for {
		if len(d.question(t).Addresses) > 0 {
			err := s.interview(ctx)
			switch code := status.Code(err); {
			case err == nil:
			case ctx.Err() != nil || code == codes.Unavailable:
				return err
			default:
				if code != codes.Unimplemented {
					s.courier.log.Warn("the proxy cannot be asked which tasks accept connections", "error", words(err))
				}
				d.setAble(t, false)
				<-ctx.Done()
				return ctx.Err()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.courier.questions:
		}
	}
}

// interview asks until there is nothing to be asked any more.
func (s *session) interview(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := s.client.Probe(ctx)
	if err != nil {
		cancel()
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.hear(stream) }()
	err = s.say(ctx, stream, ended)
	cancel()
	if err != nil {
		return err
	}
	<-ended //nolint:errcheck // it ended as it was told to
	return nil
}

// say sends every question until there is none, which is no error, or the stream
// has ended: then ended has been read.
func (s *session) say(ctx context.Context, stream interlockv1.AgentService_ProbeClient, ended <-chan error) error {
	asked := uint64(0)
	for {
		q := s.courier.deliverer.question(s.courier.target)
		if len(q.Addresses) == 0 {
			return nil
		}
		if q.Round != asked {
			asked = q.Round
			if stream.Send(probeRequest(q)) != nil {
				return <-ended // it says why
			}
		}
		select {
		case <-ctx.Done():
			return <-ended
		case err := <-ended:
			return err
		case <-s.courier.questions:
		}
	}
}

func probeRequest(q admission.Question) *interlockv1.ProbeRequest {
	request := &interlockv1.ProbeRequest{Round: q.Round, Addresses: make([]string, len(q.Addresses))}
	for i, a := range q.Addresses {
		request.Addresses[i] = a.String()
	}
	return request
}

// hear returns when the stream has ended, never nil.
func (s *session) hear(stream grpc.BidiStreamingClient[interlockv1.ProbeRequest, interlockv1.ProbeResponse]) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		// What is no address was not asked about.
		if address, err := netip.ParseAddrPort(response.GetAddress()); err == nil {
			s.courier.deliverer.accepted(s.courier.target, response.GetRound(), address)
		}
	}
}
