package snapshot

import (
	"cmp"
	"slices"
	"strings"
)

// Sort puts every list of s into the order that Snapshot promises. A source
// calls it once, before it publishes.
func (s *Snapshot) Sort() {
	sortByID(s.Services, func(v *Service) string { return v.ID })
	sortByID(s.Tasks, func(v *Task) string { return v.ID })
	sortByID(s.Nodes, func(v *Node) string { return v.ID })
	sortByID(s.Networks, func(v *Network) string { return v.ID })
	sortByID(s.Secrets, func(v *Object) string { return v.ID })
	sortByID(s.Configs, func(v *Object) string { return v.ID })
	for i := range s.Services {
		s.Services[i].Sort()
	}
	for i := range s.Tasks {
		s.Tasks[i].Sort()
	}
}

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

func sortByID[T any](list []T, id func(*T) string) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(id(&a), id(&b)) })
}

func find[T any](list []T, id string, of func(*T) string) *T {
	i, found := slices.BinarySearchFunc(list, id, func(v T, id string) int { return strings.Compare(of(&v), id) })
	if !found {
		return nil
	}
	return &list[i]
}
