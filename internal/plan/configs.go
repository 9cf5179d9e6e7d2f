package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// RoleBundle is the role of the configs that hold bundles for proxies without
// an agent, one config for each file.
const RoleBundle Role = "bundle"

// LabelPath is where the content of a config stands in a proxy's container.
const LabelPath = "com.docker.interlock.path"

// ConfigLabels are those of a config that holds a file of an extension's bundle.
func (k Keeper) ConfigLabels(name, extension, path string) map[string]string {
	return map[string]string{
		LabelRole: string(RoleBundle), LabelExtension: extension, LabelPath: path,
		LabelOwner: k.Owner, LabelSeal: k.configSeal(name, extension, path),
	}
}

func (k Keeper) configSeal(name, extension, path string) string {
	return k.Seal(name, extension, string(RoleBundle), path)
}

// Configs returns the configs that hold files of an extension's bundles and that
// no other core keeps, the newest first.
func (k Keeper) Configs(snap *snapshot.Snapshot, extension string) []snapshot.Object {
	var list []snapshot.Object
	for _, o := range snap.Configs {
		l := o.Labels
		if l[LabelRole] == string(RoleBundle) && l[LabelExtension] == extension &&
			l[LabelSeal] == k.configSeal(o.Name, extension, l[LabelPath]) && k.otherOwner(snap, l[LabelOwner]) == nil {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b snapshot.Object) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return list
}

// Surplus returns the configs of an extension's bundles that may go. Those that
// are needed stay, and those that any service has or gets back by a rollback; to
// these come the newest of each file, until there are as many as are kept. Of
// files that proxies have no more none are, once they have others.
func (k Keeper) Surplus(snap *snapshot.Snapshot, extension string, needed []snapshot.FileRef, kept int) []snapshot.Object {
	configs := k.Configs(snap, extension)
	if len(configs) == 0 {
		return nil // without a look at each of thousands of services
	}
	inUse := usedConfigs(snap)
	for _, file := range needed {
		inUse[file.ID] = true
	}
	stay := make(map[string]int) // by path
	for _, o := range configs {
		if inUse[o.ID] {
			stay[o.Labels[LabelPath]]++
		}
	}
	serving := len(stay) > 0
	return slices.DeleteFunc(configs, func(o snapshot.Object) bool {
		path := o.Labels[LabelPath]
		switch {
		case inUse[o.ID]:
			return true
		case serving && stay[path] == 0:
			return false
		case stay[path] < kept:
			stay[path]++
			return true
		default:
			return false
		}
	})
}

// usedConfigs are the IDs of the configs that services have, or would have
// again after a rollback.
func usedConfigs(snap *snapshot.Snapshot) map[string]bool {
	used := make(map[string]bool)
	for _, s := range snap.Services {
		for _, file := range s.Spec.Configs {
			used[file.ID] = true
		}
		for _, id := range s.PreviousConfigs {
			used[id] = true
		}
	}
	return used
}
