package plan

import (
	"maps"
	"reflect"
	"slices"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// merge brings what the configuration changed since it was last applied into
// the service as it is now. What the configuration did not change stays as
// the operator left it: a constraint added by hand, a scaled replica count.
func merge(current, last, wanted snapshot.ServiceSpec) snapshot.ServiceSpec {
	m := current
	m.Image = pick(current.Image, last.Image, wanted.Image)
	m.Args = pick(current.Args, last.Args, wanted.Args)
	m.Replicas = pick(current.Replicas, last.Replicas, wanted.Replicas)
	m.StopSignal = pick(current.StopSignal, last.StopSignal, wanted.StopSignal)
	m.StopGracePeriod = pick(current.StopGracePeriod, last.StopGracePeriod, wanted.StopGracePeriod)
	m.UpdateDelay = pick(current.UpdateDelay, last.UpdateDelay, wanted.UpdateDelay)
	m.UpdateOrder = pick(current.UpdateOrder, last.UpdateOrder, wanted.UpdateOrder)
	m.UpdateFailureAction = pick(current.UpdateFailureAction, last.UpdateFailureAction, wanted.UpdateFailureAction)
	m.UpdateMonitor = pick(current.UpdateMonitor, last.UpdateMonitor, wanted.UpdateMonitor)
	m.RestartDelay = pick(current.RestartDelay, last.RestartDelay, wanted.RestartDelay)
	m.ReadOnly = pick(current.ReadOnly, last.ReadOnly, wanted.ReadOnly)

	m.Labels = mergeMap(current.Labels, last.Labels, wanted.Labels)
	m.ContainerLabels = mergeMap(current.ContainerLabels, last.ContainerLabels, wanted.ContainerLabels)
	m.Env = mergeMap(current.Env, last.Env, wanted.Env)
	m.Sysctls = mergeMap(current.Sysctls, last.Sysctls, wanted.Sysctls)

	m.Constraints = mergeList(current.Constraints, last.Constraints, wanted.Constraints, itself)
	m.Preferences = mergeList(current.Preferences, last.Preferences, wanted.Preferences, itself)
	m.CapabilityDrop = mergeList(current.CapabilityDrop, last.CapabilityDrop, wanted.CapabilityDrop, itself)
	m.CapabilityAdd = mergeList(current.CapabilityAdd, last.CapabilityAdd, wanted.CapabilityAdd, itself)
	m.Networks = mergeList(current.Networks, last.Networks, wanted.Networks, itself)
	m.Ports = mergeList(current.Ports, last.Ports, wanted.Ports, portKey)
	m.Mounts = mergeList(current.Mounts, last.Mounts, wanted.Mounts, func(v snapshot.Mount) string { return v.Target })
	m.Secrets = mergeList(current.Secrets, last.Secrets, wanted.Secrets, fileKey)
	m.Configs = mergeList(current.Configs, last.Configs, wanted.Configs, fileKey)
	return m
}

func itself(v string) string { return v }

func fileKey(v snapshot.FileRef) string { return v.Target }

// portKey tells apart what may be published side by side.
func portKey(v snapshot.Port) struct {
	protocol string
	target   uint16
} {
	return struct {
		protocol string
		target   uint16
	}{v.Protocol, v.Target}
}

// pick takes the wanted value where the configuration changed it. An empty
// list is the same as none.
func pick[T any](current, last, wanted T) T {
	if same(last, wanted) {
		return current
	}
	return wanted
}

func same[T any](a, b T) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	if x.IsValid() && x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

// mergeMap merges key by key.
func mergeMap(current, last, wanted map[string]string) map[string]string {
	merged := maps.Clone(current)
	for key := range last {
		if _, still := wanted[key]; !still {
			delete(merged, key)
		}
	}
	for key, value := range wanted {
		if before, known := last[key]; known && before == value {
			continue
		}
		if merged == nil {
			merged = make(map[string]string, len(wanted))
		}
		merged[key] = value
	}
	return merged
}

// mergeList merges lists whose items are told apart by a key. Items that stay
// keep their place; new ones follow in the order in which they are wanted.
func mergeList[T any, K comparable](current, last, wanted []T, key func(T) K) []T {
	before, now := index(last, key), index(wanted, key)
	var merged []T
	present := make(map[K]bool, len(current))
	for _, item := range current {
		k := key(item)
		old, known := before[k]
		fresh, still := now[k]
		if known && !still {
			continue
		}
		// Of several items with one key, as an operator may publish a port
		// twice, only the one that we put there is ours to replace.
		if still && !same(old, fresh) && (known && same(item, old) || only(current, k, key)) {
			item = fresh
		}
		present[k] = true
		merged = append(merged, item)
	}
	for _, item := range wanted {
		k := key(item)
		old, known := before[k]
		if !present[k] && (!known || !same(old, item)) {
			merged = append(merged, item)
		}
	}
	return slices.Clip(merged)
}

// only reports whether one item at most has the key.
func only[T any, K comparable](list []T, k K, key func(T) K) bool {
	count := 0
	for _, item := range list {
		if key(item) == k {
			count++
		}
	}
	return count <= 1
}

func index[T any, K comparable](list []T, key func(T) K) map[K]T {
	byKey := make(map[K]T, len(list))
	for _, item := range list {
		byKey[key(item)] = item
	}
	return byKey
}
