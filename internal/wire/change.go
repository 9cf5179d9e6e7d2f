package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

// ChangeMessage is what makes of one table, of which the version is given, another
// one. It is nil where so much differs that the table itself is the better message.
func ChangeMessage(before *route.Table, version string, after *route.Table) *interlockv1.TableChange {
	changes := route.Differences(before, after)
	if 2*changes.Count() > len(before.Upstreams)+len(before.Hosts) {
		return nil
	}
	message := &interlockv1.TableChange{Base: version, GoneUpstreams: changes.GoneUpstreams, GoneHosts: changes.GoneHosts}
	for _, u := range changes.Upstreams {
		message.Upstreams = append(message.Upstreams, upstreamMessage(u))
	}
	for _, h := range changes.Hosts {
		message.Hosts = append(message.Hosts, hostMessage(h))
	}
	if changes.Rest {
		message.Rest = RestMessage(after)
	}
	return message
}

// RestMessage is what a table has besides its hosts and upstreams.
func RestMessage(t *route.Table) *interlockv1.TableRest {
	return &interlockv1.TableRest{DefaultRoutes: routeMessages(t.Default), Passthrough: passthroughMessages(t.Passthrough)}
}

// Change makes the table that a message describes of the one that its base names.
// It fails, saying what is wrong with which part, unless the table keeps all that
// route.Table promises. Before stays as it is, and what did not change is shared.
func Change(before *route.Table, message *interlockv1.TableChange) (*route.Table, error) {
	upstreams, err := readUpstreams(message.GetUpstreams())
	if err != nil {
		return nil, err
	}
	hosts, err := readHosts(message.GetHosts(), nil)
	if err != nil {
		return nil, err
	}
	c := alteration{hosts: hosts, upstreams: upstreams, goneHosts: message.GetGoneHosts(), goneUpstreams: message.GetGoneUpstreams(), rest: message.GetRest()}
	return c.of(before)
}

// alteration is what makes of one table another one.
type alteration struct {
	hosts                    []route.VirtualHost // sorted
	upstreams                []route.Upstream    // sorted
	goneHosts, goneUpstreams []string
	rest                     *interlockv1.TableRest // nil: as before
}

// of makes the other table.
func (a *alteration) of(before *route.Table) (*route.Table, error) {
	t := *before
	var err error
	if t.Upstreams, err = merged("upstream", before.Upstreams, a.upstreams, a.goneUpstreams, upstreamName); err != nil {
		return nil, err
	}
	if t.Hosts, err = merged("host", before.Hosts, a.hosts, a.goneHosts, hostName); err != nil {
		return nil, err
	}
	if a.rest != nil {
		if err := readRest(&t, a.rest); err != nil {
			return nil, err
		}
	}
	if a.endpointsOnly(before) {
		return &t, nil
	}
	return &t, checkTable(&t)
}

// endpointsOnly reports whether upstreams that were there change in nothing that
// anything else in the table must fit to. That is what changes most often.
func (a *alteration) endpointsOnly(before *route.Table) bool {
	if len(a.hosts)+len(a.goneHosts)+len(a.goneUpstreams) > 0 || a.rest != nil {
		return false
	}
	for i := range a.upstreams {
		u := &a.upstreams[i]
		at, there := slices.BinarySearchFunc(before.Upstreams, u.Name, func(u route.Upstream, name string) int { return strings.Compare(u.Name, name) })
		if !there || !u.SpokenToAlike(&before.Upstreams[at]) {
			return false
		}
	}
	return true
}

// readRest reads what a table has besides its hosts and upstreams, without a look
// at those.
func readRest(t *route.Table, message *interlockv1.TableRest) (err error) {
	t.Passthrough = nil
	if err := readPassthroughs(t, message.GetPassthrough(), nil); err != nil {
		return err
	}
	if t.Default, err = readRoutes(message.GetDefaultRoutes(), nil); err != nil {
		return fmt.Errorf("the default: %w", err)
	}
	return nil
}

// checkTable checks that the parts of a table, each of which has been read, fit to
// one another.
func checkTable(t *route.Table) error {
	known := byName(t.Upstreams)
	routes := func(what string, list []route.Route) error {
		for i := range list {
			if err := checkUpstreams(&list[i].Forward, known); err != nil {
				return fmt.Errorf("%s: path prefix %q: %w", what, list[i].PathPrefix, err)
			}
		}
		return nil
	}
	for i := range t.Hosts {
		if err := routes(t.Hosts[i].Name, t.Hosts[i].Routes); err != nil {
			return fmt.Errorf("host %w", err)
		}
	}
	for i := range t.Passthrough {
		if err := checkUpstreams(&t.Passthrough[i].Forward, known); err != nil {
			return fmt.Errorf("passthrough of %q: %w", t.Passthrough[i].Name, err)
		}
	}
	return errors.Join(routes("the default", t.Default), checkPassthroughs(t, known))
}

// merged is a list with others in it, in the place of those of the same name, and
// without those that are gone. It fails for names of which there are none.
func merged[T any](what string, list, others []T, gone []string, name func(*T) string) ([]T, error) {
	if len(others) == 0 && len(gone) == 0 {
		return list, nil
	}
	result := make([]T, 0, len(list)+len(others))
	// upTo takes what stands before a name, and reports whether that comes next.
	upTo := func(key string) bool {
		at, there := slices.BinarySearchFunc(list, key, func(e T, key string) int { return strings.Compare(name(&e), key) })
		result, list = append(result, list[:at]...), list[at:]
		return there
	}
	gone = slices.Sorted(slices.Values(gone))
	for len(others) > 0 || len(gone) > 0 {
		if len(gone) > 0 && (len(others) == 0 || gone[0] < name(&others[0])) {
			if !upTo(gone[0]) {
				return nil, fmt.Errorf("%s %q is gone and was not there", what, gone[0])
			}
			list, gone = list[1:], gone[1:]
			continue
		}
		if upTo(name(&others[0])) {
			list = list[1:]
		}
		result, others = append(result, others[0]), others[1:]
	}
	if result = append(result, list...); len(result) == 0 {
		return nil, nil
	}
	return result, nil
}

func upstreamName(u *route.Upstream) string { return u.Name }
func hostName(h *route.VirtualHost) string  { return h.Name }
