package swarmkit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// world is a Swarm that changes at random.
type world struct {
	*rand.Rand
	version uint64
	objects map[string]*swarmpb.Object
	born    int
}

// step changes one object, and says so as the stream would.
func (w *world) step() *swarmpb.WatchMessage_Event {
	w.version++
	ids := make([]string, 0, len(w.objects))
	for id := range w.objects {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) > 0 && w.IntN(4) == 0 {
		id := ids[w.IntN(len(ids))]
		gone := w.objects[id]
		delete(w.objects, id)
		return &swarmpb.WatchMessage_Event{Action: swarmpb.Action_ACTION_REMOVE, Object: gone}
	}
	id, action := fmt.Sprintf("%03d", w.born), swarmpb.Action_ACTION_CREATE
	kind := w.IntN(6)
	if len(ids) > 0 && w.IntN(2) == 0 {
		id, action = ids[w.IntN(len(ids))], swarmpb.Action_ACTION_UPDATE
		kind = kindOf(w.objects[id])
	} else {
		w.born++
	}
	w.objects[id] = w.object(kind, id)
	return &swarmpb.WatchMessage_Event{Action: action, Object: w.objects[id]}
}

func kindOf(o *swarmpb.Object) int {
	return slices.Index([]string{"node", "service", "network", "task", "secret", "config"},
		string(o.ProtoReflect().WhichOneof(o.ProtoReflect().Descriptor().Oneofs().Get(0)).Name()))
}

func (w *world) object(kind int, id string) *swarmpb.Object {
	meta := &swarmpb.Meta{Version: &swarmpb.Version{Index: w.version}}
	labels := map[string]string{"n": fmt.Sprint(w.IntN(3))}
	if w.IntN(3) == 0 {
		labels[plan.LabelRole], labels[predefined] = "x", "true"
	}
	named := &swarmpb.Annotations{Name: "name-" + id, Labels: labels}
	switch kind {
	case 0:
		return &swarmpb.Object{Object: &swarmpb.Object_Node{Node: &swarmpb.Node{Id: id, Meta: meta, Spec: &swarmpb.Node_Spec{Annotations: named}, Status: &swarmpb.Node_Status{State: swarmpb.Node_State(w.IntN(4)), Addr: "10.0.0.1"}}}}
	case 1:
		return &swarmpb.Object{Object: &swarmpb.Object_Service{Service: &swarmpb.Service{Id: id, Meta: meta, Spec: &swarmpb.ServiceSpec{Annotations: named}}}}
	case 2:
		return &swarmpb.Object{Object: &swarmpb.Object_Network{Network: &swarmpb.Network{Id: id, Meta: meta, Spec: &swarmpb.Network_Spec{Annotations: named}}}}
	case 3:
		states := []swarmpb.Task_State{swarmpb.Task_PENDING, swarmpb.Task_RUNNING, swarmpb.Task_FAILED, swarmpb.Task_SHUTDOWN}
		t := &swarmpb.Task{
			Id: id, Meta: meta, ServiceId: fmt.Sprint(w.IntN(2)), Slot: uint64(w.IntN(3)), NodeId: fmt.Sprint(w.IntN(2)),
			Status: &swarmpb.Task_Status{State: states[w.IntN(4)]}, DesiredState: states[w.IntN(4)],
		}
		if w.IntN(5) > 0 {
			t.Spec = &swarmpb.Task_Spec{Container: new(swarmpb.Empty)}
		}
		return &swarmpb.Object{Object: &swarmpb.Object_Task{Task: t}}
	case 4:
		return &swarmpb.Object{Object: &swarmpb.Object_Secret{Secret: &swarmpb.Secret{Id: id, Meta: meta, Internal: w.IntN(4) == 0, Spec: &swarmpb.Secret_Spec{Annotations: named}}}}
	default:
		return &swarmpb.Object{Object: &swarmpb.Object_Config{Config: &swarmpb.Config{Id: id, Meta: meta, Spec: &swarmpb.Config_Spec{Annotations: named}}}}
	}
}

func (w *world) lists() *lists {
	l := new(lists)
	for _, o := range w.objects {
		switch o := proto.CloneOf(o).GetObject().(type) {
		case *swarmpb.Object_Node:
			l.nodes = append(l.nodes, o.Node)
		case *swarmpb.Object_Service:
			l.services = append(l.services, o.Service)
		case *swarmpb.Object_Network:
			l.networks = append(l.networks, o.Network)
		case *swarmpb.Object_Task:
			l.tasks = append(l.tasks, o.Task)
		case *swarmpb.Object_Secret:
			l.secrets = append(l.secrets, o.Secret)
		case *swarmpb.Object_Config:
			l.configs = append(l.configs, o.Config)
		}
	}
	return l
}

func TestWhatIsFollowedEqualsWhatIsReadAnew(t *testing.T) {
	for seed := range uint64(100) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), objects: map[string]*swarmpb.Object{}}
		for range 30 {
			w.step()
		}
		s := newState(w.lists(), nil)
		var told []*swarmpb.WatchMessage_Event
		for i := range 60 {
			e := w.step()
			told = append(told, e)
			s.apply(e)
			if i%20 == 0 { // a stream that is taken up tells some things again
				for _, e := range told[max(0, len(told)-5):] {
					s.apply(e)
				}
			}
			before := s.snapshot()
			same := cmp.Diff(newState(w.lists(), nil).snapshot(), before, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}))
			if same != "" {
				t.Fatalf("seed %d, step %d (-read anew +followed):\n%s", seed, i, same)
			}
		}
		if found := s.missed(s.suspects(reading{w.lists(), s.newest()})); found != nil {
			t.Fatalf("seed %d: the state is doubted: %v", seed, found)
		}
	}
}

func taskAt(version uint64, id string) *swarmpb.Task {
	return &swarmpb.Task{
		Id: id, ServiceId: "app", Meta: &swarmpb.Meta{Version: &swarmpb.Version{Index: version}}, Spec: &swarmpb.Task_Spec{Container: new(swarmpb.Empty)},
	}
}

func TestWhatComesWhileAListIsReadInPartsIsNotTakenForMissed(t *testing.T) {
	s := newState(&lists{tasks: []*swarmpb.Task{taskAt(1, "aa"), taskAt(2, "zz")}}, nil)
	began := s.newest()
	// The part with "a" has been read, that with "z" has not.
	for _, task := range []*swarmpb.Task{taskAt(3, "ab"), taskAt(4, "zz")} {
		s.apply(&swarmpb.WatchMessage_Event{Action: swarmpb.Action_ACTION_CREATE, Object: &swarmpb.Object{Object: &swarmpb.Object_Task{Task: task}}})
	}
	r := reading{&lists{tasks: []*swarmpb.Task{taskAt(1, "aa"), taskAt(4, "zz")}}, began}
	if missed := s.missed(s.suspects(r)); missed != nil {
		t.Errorf("the stream is doubted, as %v", missed)
	}
	r.tasks = r.tasks[1:]
	if missed := s.missed(s.suspects(r)); missed == nil {
		t.Error("a task that is gone is not missed")
	}
}

func TestAPartThatCannotBeReadIsToldOnceWhileItIsSo(t *testing.T) {
	s := newState(new(lists), nil)
	told := 0
	for i, step := range []struct {
		address string
		want    int // faults told so far
	}{{"rubbish", 1}, {"rubbish", 1}, {"other rubbish", 2}, {"10.0.0.1/24", 2}, {"rubbish", 3}} {
		task := taskAt(uint64(i+1), "t")
		task.Networks = []*swarmpb.Task_Attachment{{Network: &swarmpb.Task_Network{Id: "n"}, Addresses: []string{step.address}}}
		s.apply(&swarmpb.WatchMessage_Event{Action: swarmpb.Action_ACTION_UPDATE, Object: &swarmpb.Object{Object: &swarmpb.Object_Task{Task: task}}})
		told += len(s.faults)
		s.faults = nil
		if told != step.want {
			t.Fatalf("after address %d, %q, %d faults were told, want %d", i, step.address, told, step.want)
		}
	}
}
