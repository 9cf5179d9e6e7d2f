package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

// ChangeMessage is what makes of one table, of which the version is given, another
// one. It is nil where so much differs that the table itself is the better message.
func ChangeMessage(before *route.Table, version string, after *route.Table) *interlockv1.TableChange {
	message := &interlockv1.TableChange{Base: version}
	upstreams, goneUpstreams := difference(before.Upstreams, after.Upstreams, upstreamName, sameUpstream)
	hosts, goneHosts := difference(before.Hosts, after.Hosts, hostName, sameHost)
	if 2*(len(upstreams)+len(hosts)+len(goneUpstreams)+len(goneHosts)) > len(before.Upstreams)+len(before.Hosts) {
		return nil
	}
	message.GoneUpstreams, message.GoneHosts = goneUpstreams, goneHosts
	for _, u := range upstreams {
		message.Upstreams = append(message.Upstreams, upstreamMessage(u))
	}
	for _, h := range hosts {
		message.Hosts = append(message.Hosts, hostMessage(h))
	}
	if !reflect.DeepEqual(before.Default, after.Default) || !reflect.DeepEqual(before.Passthrough, after.Passthrough) {
		message.Rest = &interlockv1.TableRest{DefaultRoutes: routeMessages(after.Default), Passthrough: passthroughMessages(after.Passthrough)}
	}
	return message
}

// Change makes the table that a message describes of the one that its base names.
// It fails, saying what is wrong with which part, unless the table keeps all that
// route.Table promises. Before stays as it is, and what did not change is shared.
func Change(before *route.Table, message *interlockv1.TableChange) (*route.Table, error) {
	t := *before
	upstreams, err := readUpstreams(message.GetUpstreams())
	if err != nil {
		return nil, err
	}
	if t.Upstreams, err = merged("upstream", before.Upstreams, upstreams, message.GetGoneUpstreams(), upstreamName); err != nil {
		return nil, err
	}
	known := byName(t.Upstreams)
	hosts, err := readHosts(message.GetHosts(), known)
	if err != nil {
		return nil, err
	}
	if t.Hosts, err = merged("host", before.Hosts, hosts, message.GetGoneHosts(), hostName); err != nil {
		return nil, err
	}
	if rest := message.GetRest(); rest != nil {
		t.Passthrough = nil
		if err := readPassthroughs(&t, rest.GetPassthrough(), known); err != nil {
			return nil, err
		}
		if t.Default, err = readRoutes(rest.GetDefaultRoutes(), known); err != nil {
			return nil, fmt.Errorf("the default: %w", err)
		}
	}
	return &t, checkTable(&t, known)
}

// checkTable checks that what did not change still fits to what did.
func checkTable(t *route.Table, known map[string]*route.Upstream) error {
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

// difference returns those of after that before has not, or not the same, and the
// names of those that after has not. Both lists are sorted by name.
func difference[T any](before, after []T, name func(*T) string, same func(a, b *T) bool) (changed []*T, gone []string) {
	if sameList(before, after) {
		return nil, nil
	}
	for len(before) > 0 || len(after) > 0 {
		var order int
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = strings.Compare(name(&before[0]), name(&after[0]))
		}
		if order < 0 {
			gone = append(gone, name(&before[0]))
		} else if order > 0 || !same(&before[0], &after[0]) {
			changed = append(changed, &after[0])
		}
		if order <= 0 {
			before = before[1:]
		}
		if order >= 0 {
			after = after[1:]
		}
	}
	return changed, gone
}

// merged is a list with others in it, in the place of those of the same name, and
// without those that are gone. It fails for names of which there are none.
func merged[T any](what string, list, others []T, gone []string, name func(*T) string) ([]T, error) {
	if len(others) == 0 && len(gone) == 0 {
		return list, nil
	}
	goes := make(map[string]bool, len(gone))
	for _, key := range gone {
		goes[key] = true
	}
	var result []T
	for len(list) > 0 || len(others) > 0 {
		switch {
		case len(list) > 0 && goes[name(&list[0])]:
			delete(goes, name(&list[0]))
			list = list[1:]
		case len(list) > 0 && (len(others) == 0 || name(&list[0]) < name(&others[0])):
			result, list = append(result, list[0]), list[1:]
		default:
			if len(list) > 0 && name(&list[0]) == name(&others[0]) {
				list = list[1:]
			}
			result, others = append(result, others[0]), others[1:]
		}
	}
	for key := range goes {
		return nil, fmt.Errorf("%s %q is gone and was not there", what, key)
	}
	return result, nil
}

func upstreamName(u *route.Upstream) string { return u.Name }
func hostName(h *route.VirtualHost) string  { return h.Name }

// sameUpstream and sameHost look at the content only where the parts are not the
// very same.
func sameUpstream(a, b *route.Upstream) bool {
	shared := a.TLS == b.TLS && a.HTTP2 == b.HTTP2 && a.Weight == b.Weight && a.MaxFails == b.MaxFails && a.FailTimeout == b.FailTimeout && sameList(a.Endpoints, b.Endpoints)
	return shared || reflect.DeepEqual(a, b)
}

func sameHost(a, b *route.VirtualHost) bool {
	shared := a.Credential == b.Credential && sameList(a.Routes, b.Routes) && sameList(a.Redirects, b.Redirects)
	return shared || reflect.DeepEqual(a, b)
}

func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
