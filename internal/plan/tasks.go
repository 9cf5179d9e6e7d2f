package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// TaskProblems explains why tasks of the services that Interlock keeps do not
// run, so that nobody has to search Docker's task list for it.
func (k Keeper) TaskProblems(snap *snapshot.Snapshot) []problem.Problem {
	var problems []problem.Problem
	for _, s := range k.Marked(snap) {
		if s.Spec.Labels[LabelRole] == "" || !k.sealed(s) {
			continue
		}
		running := runningPlaces(snap, s.ID)
		for _, t := range snap.TasksOf(s.ID) {
			if t.Err != "" && !running[t.Place()] {
				problems = append(problems, taskProblem(snap, s, t))
			}
		}
	}
	return problem.Sort(problems)
}

func runningPlaces(snap *snapshot.Snapshot, service string) map[snapshot.Place]bool {
	running := make(map[snapshot.Place]bool)
	for _, t := range snap.TasksOf(service) {
		if t.Runs() {
			running[t.Place()] = true
		}
	}
	return running
}

// portInUse holds what Swarm's scheduler and Docker's engine say, as seen with
// Engine 20.10, when a published port is not free.
var portInUse = []string{"host-mode port already in use", "address already in use", "port is already allocated"}

func taskProblem(snap *snapshot.Snapshot, s *snapshot.Service, t *snapshot.Task) problem.Problem {
	p := problem.Problem{Kind: problem.TaskFailing, Service: s.Spec.Name}
	where := ""
	if n := snap.Node(t.NodeID); n != nil {
		where = " on node " + n.Hostname
	}
	if slices.ContainsFunc(portInUse, func(words string) bool { return strings.Contains(t.Err, words) }) {
		p.Kind = problem.PortTaken
		p.Message = fmt.Sprintf("a port that it publishes (%s) is already in use%s: free it, or publish another in config.toml; Docker says: %s",
			publishedPorts(s), where, t.Err)
		return p
	}
	p.Message = fmt.Sprintf("its task does not run%s; Docker says: %s", where, t.Err)
	return p
}

func publishedPorts(s *snapshot.Service) string {
	var ports []string
	for _, p := range s.Spec.Ports {
		if p.Published != 0 {
			ports = append(ports, fmt.Sprint(p.Published))
		}
	}
	return strings.Join(ports, ", ")
}
