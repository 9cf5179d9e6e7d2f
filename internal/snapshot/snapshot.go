// Package snapshot says what a Swarm looks like at one moment, in this
// project's own types: immutable once published, every list sorted. Of two
// snapshots that one source has published one after the other, the second shares
// with the first what did not change, so that a pointer says "as before".
//
// It reads nothing itself; internal/docker fills it. It holds no routing
// decision: which task may take traffic is decided by internal/route.
package snapshot

import (
	"iter"
	"net/netip"
	"time"
)

// Snapshot is one complete reading of a Swarm. Whoever receives one must not
// change it, nor anything that it points to: see [Lists] for making one.
// Services, Nodes, Networks, Secrets and Configs are each sorted by ID.
type Snapshot struct {
	Services []*Service
	// Tasks are sorted by their service's ID. They may be of a service that is
	// not among Services.
	Tasks    []*Tasks
	Nodes    []Node
	Networks []Network
	Secrets  []Object
	// Configs are those that Interlock made, known by their label for a role
	// (plan.LabelRole), and those that config.toml names, but no others: a list
	// of configs carries their content.
	Configs []Object
}

// Service is a Swarm service as its managers store it.
type Service struct {
	ID string
	// Version is Swarm's version of the object. An update that names an older
	// one is refused by Swarm, which is how concurrent writers stay safe.
	Version   uint64
	CreatedAt time.Time
	Spec      ServiceSpec
	// Ports are those that Swarm publishes through its routing mesh, with the
	// numbers it picked. Host-mode ports are found on the tasks.
	Ports      []Port
	VirtualIPs []VirtualIP
	Update     UpdateState
	// PreviousConfigs are the IDs of the configs that the service had before its
	// last update, sorted: what a rollback brings back.
	PreviousConfigs []string
}

// ServiceSpec is the part of a service's specification that Interlock reads or
// writes. What it does not list here an update leaves as it is.
//
// It is stored as JSON in a label of the services that Interlock keeps, so the
// names of its fields are a format: add, but do not rename.
type ServiceSpec struct {
	Name            string            `json:"name,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Image           string            `json:"image,omitempty"`
	Args            []string          `json:"args,omitempty"`
	Env             map[string]string `json:"env,omitempty"`
	ContainerLabels map[string]string `json:"containerLabels,omitempty"`
	// Replicas is nil for a service that runs once on every node.
	Replicas    *uint64  `json:"replicas,omitempty"`
	Constraints []string `json:"constraints,omitempty"`
	// Preferences are spread descriptors such as "node.labels.zone", in order.
	Preferences []string `json:"preferences,omitempty"`
	Ports       []Port   `json:"ports,omitempty"`
	// Networks are network IDs.
	Networks []string  `json:"networks,omitempty"`
	Mounts   []Mount   `json:"mounts,omitempty"`
	Secrets  []FileRef `json:"secrets,omitempty"`
	Configs  []FileRef `json:"configs,omitempty"`
	// StopSignal is a signal's name such as "SIGQUIT"; empty is the image's own.
	StopSignal string `json:"stopSignal,omitempty"`
	// StopGracePeriod is nil where Docker's default of ten seconds holds.
	StopGracePeriod *time.Duration `json:"stopGracePeriod,omitempty"`
	// UpdateDelay is nil where Docker's default of none holds.
	UpdateDelay *time.Duration `json:"updateDelay,omitempty"`
	// UpdateOrder is "stop-first", "start-first" or empty for Docker's default.
	UpdateOrder string `json:"updateOrder,omitempty"`
	// UpdateFailureAction is "continue", "rollback" or empty for Docker's
	// default, which is to pause.
	UpdateFailureAction string `json:"updateFailureAction,omitempty"`
	// UpdateMonitor is how long after its start a task that fails counts as the
	// update's failure; nil where Docker's default of five seconds holds.
	UpdateMonitor *time.Duration `json:"updateMonitor,omitempty"`
	// RestartDelay is how long Swarm waits before it starts a task in the place of
	// one that has ended by itself; nil where Docker's default of five seconds holds.
	RestartDelay *time.Duration `json:"restartDelay,omitempty"`
	// ReadOnly mounts the container's root file system read-only.
	ReadOnly bool `json:"readOnly,omitempty"`
	// CapabilityDrop lists capabilities taken from the container, such as "ALL".
	CapabilityDrop []string `json:"capabilityDrop,omitempty"`
	// CapabilityAdd lists capabilities that processes of the container may have beside
	// the engine's own choice, such as "CAP_NET_ADMIN".
	CapabilityAdd []string `json:"capabilityAdd,omitempty"`
	// Sysctls are kernel parameters of the container's own namespaces, by name.
	Sysctls map[string]string `json:"sysctls,omitempty"`
}

// PublishMode says how a port is reachable from outside.
type PublishMode string

// The two publish modes that Swarm knows.
const (
	PublishIngress PublishMode = "ingress" // on every node, through Swarm's routing mesh
	PublishHost    PublishMode = "host"    // on the nodes that run a task, directly
)

// Port is a port of a service or of a task.
type Port struct {
	Protocol string `json:"protocol"` // "tcp", "udp" or "sctp"
	Target   uint16 `json:"target"`   // inside the container
	// Published is the port outside; 0 in a specification leaves the choice to Docker.
	Published uint16      `json:"published,omitempty"`
	Mode      PublishMode `json:"mode"`
}

// Mount is a file system that a container gets.
type Mount struct {
	Type     string `json:"type"` // "bind", "volume" or "tmpfs"
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// TmpfsSize bounds a tmpfs in bytes; 0: half of the node's memory.
	TmpfsSize int64 `json:"tmpfsSize,omitempty"`
	// TmpfsMode are the permission bits of a tmpfs's folder as chmod(2) numbers
	// them, the sticky bit included; 0: those of the folder below it. A tmpfs is
	// root's: Docker cannot give it to somebody else.
	TmpfsMode uint32 `json:"tmpfsMode,omitempty"`
}

// FileRef puts a Swarm secret or config into a container as a file.
type FileRef struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Target string `json:"target"` // absolute path, or a name below /run/secrets
	// UID and GID own the file; empty means "0".
	UID  string `json:"uid,omitempty"`
	GID  string `json:"gid,omitempty"`
	Mode uint32 `json:"mode"` // permission bits
}

// UpdateState says how far a rolling update is.
type UpdateState string

// What Docker reports of an update; empty when there never was one.
const (
	UpdateNone              UpdateState = ""
	UpdateUpdating          UpdateState = "updating"
	UpdatePaused            UpdateState = "paused"
	UpdateCompleted         UpdateState = "completed"
	UpdateRollbackStarted   UpdateState = "rollback_started"
	UpdateRollbackPaused    UpdateState = "rollback_paused"
	UpdateRollbackCompleted UpdateState = "rollback_completed"
)

// RolledBack reports whether the last update is being or has been taken back.
func (u UpdateState) RolledBack() bool {
	return u == UpdateRollbackStarted || u == UpdateRollbackPaused || u == UpdateRollbackCompleted
}

// VirtualIP is a service's own address on one network.
type VirtualIP struct {
	NetworkID string
	Addr      netip.Prefix
}

// Tasks are the tasks of one service, at least one, sorted by ID.
type Tasks struct {
	ServiceID string
	List      []*Task
}

// Task is one container that Swarm runs, has run or means to run.
type Task struct {
	ID        string
	ServiceID string
	NodeID    string // empty until the task is scheduled
	Slot      int
	CreatedAt time.Time
	State     TaskState
	Desired   TaskState
	// Message and Err are Swarm's own words about the task's state.
	Message string
	Err     string
	// ContainerID is empty until the container exists.
	ContainerID string
	// Ports are the task's host-mode ports with the numbers that the engine
	// picked; present once the task runs. Those of one target stay in the
	// engine's order, IPv4 first: see [Task.HostPort].
	Ports []Port
	// Attachments are the task's addresses on overlay networks.
	Attachments []Attachment
}

// MeantToRun reports whether Swarm wants the task to run, now or once it may start. A
// job's task it wants until that is complete.
func (t *Task) MeantToRun() bool { return t.Desired <= TaskRunning || t.Desired == TaskComplete }

// Runs reports whether the task runs and is meant to.
func (t *Task) Runs() bool {
	return t.State == TaskRunning && (t.Desired == TaskRunning || t.Desired == TaskComplete)
}

// HostPort returns where the task's node publishes a TCP port of the task for
// whoever dials the node at an address of this family.
//
// An engine publishes a port once for IPv4 and once for IPv6, names the two in
// this order without saying which is which, and up to Engine 26 may pick
// different numbers for them where it picks the numbers at all.
func (t *Task) HostPort(target uint16, node netip.Addr) (published uint16, ok bool) {
	for _, p := range t.Ports {
		if p.Mode != PublishHost || p.Protocol != "tcp" || p.Target != target || p.Published == 0 {
			continue
		}
		published, ok = p.Published, true
		if !node.Is6() || node.Is4In6() {
			break
		}
	}
	return published, ok
}

// Place is where one task at a time is meant to run: a slot of a replicated
// service, or a node of a service that runs on every node.
type Place struct {
	service string
	slot    int
	node    string // of a service without slots
}

// Service is the ID of the service.
func (p Place) Service() string { return p.service }

// Place returns the task's.
func (t *Task) Place() Place {
	p := Place{service: t.ServiceID, slot: t.Slot}
	if t.Slot == 0 {
		p.node = t.NodeID
	}
	return p
}

// TaskState is a step in a task's life. Later states have greater numbers.
type TaskState int

// The states in the order of Swarm's task life cycle.
const (
	TaskUnknown TaskState = iota
	TaskNew
	TaskAllocated
	TaskPending
	TaskAssigned
	TaskAccepted
	TaskPreparing
	TaskReady
	TaskStarting
	TaskRunning
	TaskComplete
	TaskShutdown
	TaskFailed
	TaskRejected
	TaskRemove
	TaskOrphaned
)

var taskStateNames = [...]string{
	"unknown", "new", "allocated", "pending", "assigned", "accepted", "preparing",
	"ready", "starting", "running", "complete", "shutdown", "failed", "rejected", "remove", "orphaned",
}

// String returns the name that the Docker API uses.
func (s TaskState) String() string {
	if s < 0 || int(s) >= len(taskStateNames) {
		return taskStateNames[TaskUnknown]
	}
	return taskStateNames[s]
}

// ParseTaskState is the inverse of String; an unknown name gives TaskUnknown.
func ParseTaskState(name string) TaskState {
	for i, n := range taskStateNames {
		if n == name {
			return TaskState(i)
		}
	}
	return TaskUnknown
}

// Attachment is a task's place on one network.
type Attachment struct {
	NetworkID string
	Addrs     []netip.Addr
}

// Node is a machine of the Swarm.
type Node struct {
	ID       string
	Hostname string
	// Addr is where other nodes reach this one; the zero Addr if Swarm knows none.
	Addr    netip.Addr
	Ready   bool
	Manager bool
	Labels  map[string]string
}

// Network is a Swarm-scoped network.
type Network struct {
	ID      string
	Name    string
	Driver  string
	Ingress bool // the routing mesh's own network, which no service may be reached over
	Labels  map[string]string
}

// Object is a secret or a config: Swarm lists them without their content.
type Object struct {
	ID        string
	Name      string
	CreatedAt time.Time
	Labels    map[string]string
}

// Service returns the service with the given ID, or nil.
func (s *Snapshot) Service(id string) *Service { return part(s.Services, id, serviceID) }

// Node returns the node with the given ID, or nil.
func (s *Snapshot) Node(id string) *Node {
	return find(s.Nodes, id, func(v *Node) string { return v.ID })
}

// Network returns the network with the given ID, or nil.
func (s *Snapshot) Network(id string) *Network {
	return find(s.Networks, id, func(v *Network) string { return v.ID })
}

// TasksOf returns the tasks of a service, sorted by ID.
func (s *Snapshot) TasksOf(service string) []*Task {
	if tasks := part(s.Tasks, service, tasksID); tasks != nil {
		return tasks.List
	}
	return nil
}

// AllTasks goes over the tasks of every service, in the snapshot's order.
func (s *Snapshot) AllTasks() iter.Seq[*Task] {
	return func(yield func(*Task) bool) {
		for _, tasks := range s.Tasks {
			for _, t := range tasks.List {
				if !yield(t) {
					return
				}
			}
		}
	}
}

func serviceID(s *Service) string { return s.ID }
func tasksID(t *Tasks) string     { return t.ServiceID }
