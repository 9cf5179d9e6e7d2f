package snapshot

import (
	"cmp"
	"slices"
	"strings"
)

// Sort puts the lists of a task into the order that a snapshot has them in.
func (t *Task) Sort() {
	slices.SortStableFunc(t.Ports, compareTargets)
	slices.SortFunc(t.Attachments, func(a, b Attachment) int { return strings.Compare(a.NetworkID, b.NetworkID) })
}

// Sort puts the lists of a service into the order that a snapshot has them in.
func (s *Service) Sort() {
	slices.SortFunc(s.Ports, comparePorts)
	slices.SortFunc(s.Spec.Ports, comparePorts)
	slices.SortFunc(s.VirtualIPs, func(a, b VirtualIP) int { return strings.Compare(a.NetworkID, b.NetworkID) })
	slices.Sort(s.Spec.Networks)
	slices.SortFunc(s.Spec.Secrets, compareFileRefs)
	slices.SortFunc(s.Spec.Configs, compareFileRefs)
}

// compareTargets leaves ports of one target as they stand.
func compareTargets(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.Target, b.Target),
		strings.Compare(a.Protocol, b.Protocol),
		strings.Compare(string(a.Mode), string(b.Mode)),
	)
}

func comparePorts(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.Target, b.Target),
		cmp.Compare(a.Published, b.Published),
		strings.Compare(a.Protocol, b.Protocol),
		strings.Compare(string(a.Mode), string(b.Mode)),
	)
}

func compareFileRefs(a, b FileRef) int {
	return cmp.Or(strings.Compare(a.Target, b.Target), strings.Compare(a.Name, b.Name))
}

func find[T any](list []T, id string, of func(*T) string) *T {
	i, found := slices.BinarySearchFunc(list, id, func(v T, id string) int { return strings.Compare(of(&v), id) })
	if !found {
		return nil
	}
	return &list[i]
}

// part is find for a list of parts that snapshots share.
func part[T any](list []*T, id string, of func(*T) string) *T {
	i, found := slices.BinarySearchFunc(list, id, func(v *T, id string) int { return strings.Compare(of(v), id) })
	if !found {
		return nil
	}
	return list[i]
}
