package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// root holds a folder for each lab on this machine, and the lock under which
	// they are made and swept.
	root      = "/var/lib/interlock-lab"
	stateFile = "lab.json"
	// lockTimeout bounds the wait for another process that sweeps.
	lockTimeout = time.Minute
)

// The last byte of a lab's addresses.
const (
	hostOctet      = 1
	switchOctet    = 2
	firstNodeOctet = 11
)

// ErrNotUp says that there is no lab of the name that [Open] was given.
var ErrNotUp = errors.New("no such lab is up")

// state is what a lab's folder says of it.
type state struct {
	ID       string       `json:"id"`
	Name     string       `json:"name,omitempty"`
	Detached bool         `json:"detached"`
	Subnet   netip.Prefix `json:"subnet"`
	Nodes    []nodeState  `json:"nodes"`
}

type nodeState struct {
	Name  string `json:"name"`
	Role  Role   `json:"role"`
	Octet int    `json:"octet"`
}

func (s *state) address(octet int) string {
	bytes := s.Subnet.Addr().As4()
	bytes[3] = byte(octet)
	return netip.AddrFrom4(bytes).String()
}

func (s *state) addressWithMask(octet int) string {
	return fmt.Sprintf("%s/%d", s.address(octet), s.Subnet.Bits())
}

func (s *state) mac(octet int) string {
	bytes := s.Subnet.Addr().As4()
	return fmt.Sprintf("02:1b:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], octet)
}

func (s *state) hostLink() string { return hostLinkOf(s.ID) }

func hostLinkOf(id string) string { return "lab-" + id }

// claim makes a new lab's folder and chooses its subnet, with no other process
// doing the same meanwhile. It first removes what dead labs left.
func claim(ctx context.Context, o Options) (*Lab, error) {
	unlock, err := lockRoot(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := sweep(ctx); err != nil {
		return nil, err
	}
	others, err := readStates()
	if err != nil {
		return nil, err
	}
	if o.Name != "" && slices.ContainsFunc(others, func(s state) bool { return s.Name == o.Name }) {
		return nil, fmt.Errorf("a lab named %q is up or coming up", o.Name)
	}
	subnet, err := freeSubnet(others)
	if err != nil {
		return nil, err
	}
	s := state{ID: newID(), Name: o.Name, Subnet: subnet, Nodes: o.nodes()}
	dir := filepath.Join(root, s.ID)
	if err := os.MkdirAll(filepath.Join(dir, "docker"), 0o700); err != nil {
		return nil, err
	}
	owner, err := own(dir)
	if err != nil {
		return nil, err
	}
	if err := s.save(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir), owner.Close())
	}
	return newLab(s, dir, owner), nil
}

// own marks the lab as belonging to this process for as long as that lives.
func own(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "owner"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := tryLock(f)
	if err == nil && !locked {
		err = errors.New("it belongs to a process that lives")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("own %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func newID() string {
	var b [3]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (o Options) nodes() []nodeState {
	var all []nodeState
	add := func(role Role, name string, count int) {
		for i := range count {
			all = append(all, nodeState{
				Name: fmt.Sprintf("%s-%02d", name, i), Role: role, Octet: firstNodeOctet + len(all),
			})
		}
	}
	add(Worker, "lb", o.LoadBalancers)
	add(Manager, "manager", o.Managers)
	add(Worker, "worker", o.Workers-o.LoadBalancers)
	return all
}

func newLab(s state, dir string, owner *os.File) *Lab {
	l := &Lab{state: s, dir: dir, owner: owner}
	l.fabric = &fabric{machine: machine{dir: filepath.Join(dir, "switch")}, state: &l.state}
	for _, n := range s.Nodes {
		l.nodes = append(l.nodes, &Node{
			machine: machine{dir: filepath.Join(dir, "nodes", n.Name)},
			lab:     l, name: n.Name, role: n.Role, octet: n.Octet,
		})
	}
	return l
}

// detach makes the lab outlive this process. The switch comes last: a lab whose
// owner died in the middle of this has none, and is swept.
func (l *Lab) detach() error {
	l.state.Detached = true
	if err := l.state.save(l.dir); err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := n.stay(); err != nil {
			return err
		}
	}
	return l.fabric.stay()
}

// Open finds a detached lab by its name or ID. The error is [ErrNotUp] if there
// is none. Closing it is not needed; Down takes it down.
func Open(name string) (*Lab, error) {
	all, err := readStates()
	if err != nil {
		return nil, fmt.Errorf("open lab %s: %w", name, err)
	}
	for _, s := range all {
		if s.Detached && (s.Name == name || s.ID == name) {
			l := newLab(s, filepath.Join(root, s.ID), nil)
			if l.fabric.running() {
				return l, nil
			}
		}
	}
	return nil, fmt.Errorf("open lab %s: %w", name, ErrNotUp)
}

func (s *state) save(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, stateFile), text)
}

func readState(dir string) (state, error) {
	var s state
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the state in %s: %w", dir, err)
	}
	return s, nil
}

// readStates reads the state of every lab, dead or not. Folders that are being
// made or removed have none.
func readStates() ([]state, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []state
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		s, err := readState(filepath.Join(root, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// replaceFile writes a file that others read at any moment.
func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// lockRoot waits until no other process makes or sweeps labs.
func lockRoot(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = Eventually(ctx, lockTimeout, func(context.Context) error {
		locked, err := tryLock(f)
		if err == nil && !locked {
			err = errors.New("another process is making or sweeping labs")
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}
