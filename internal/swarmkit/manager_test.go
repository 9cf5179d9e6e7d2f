package swarmkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/interlock-lb/interlock/internal/snapshot"
	"github.com/interlock-lb/interlock/internal/swarmkit/swarmpb"
)

// manager stands in for a Swarm manager at its socket: it lists what it has and
// streams what changes, as versions of its own.
type manager struct {
	socket string
	server *grpc.Server

	mu       sync.Mutex
	lists    lists
	version  uint64
	log      []*swarmpb.WatchMessage // all changes, the last one to the present version
	oldest   uint64                  // version from which on it remembers
	watchers map[chan *swarmpb.WatchMessage]bool
	asked    map[string]int // calls, by the method's name
	resumed  []uint64       // the versions that streams began at
	hung     chan struct{}  // not nil: lists wait until it is closed
	mute     bool           // streams say nothing
	small    bool           // only lists by prefix fit
	old      bool           // its TLS negotiates no protocol
}

func newManager() *manager {
	return &manager{version: 10, watchers: map[chan *swarmpb.WatchMessage]bool{}, asked: map[string]int{}}
}

// serve listens on the socket with a certificate of the authority's.
func (m *manager) serve(t *testing.T, authority *authority) {
	t.Helper()
	if m.socket == "" {
		// Not t.TempDir: the path of a unix socket is limited to 108 bytes.
		dir, err := os.MkdirTemp("", "interlock-swarmkit-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		m.socket = filepath.Join(dir, "control.sock")
	}
	// A server that is there already keeps its connections, and new ones come here.
	if err := os.Remove(m.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.socket})
	if err != nil {
		t.Fatal(err)
	}
	unix.SetUnlinkOnClose(false) // it may be the next one's by then
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*authority.issue(t)}, NextProtos: []string{"h2"}}
	if m.old {
		secure.NextProtos = nil
	}
	listener := tls.NewListener(unix, secure)
	m.server = grpc.NewServer(grpc.UnknownServiceHandler(m.handle))
	served := make(chan struct{})
	server := m.server
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
}

func (m *manager) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	name := method[strings.LastIndexByte(method, '/')+1:]
	m.mu.Lock()
	m.asked[name]++
	hung := m.hung
	m.mu.Unlock()
	if name == "Watch" {
		return m.watch(stream)
	}
	if hung != nil {
		select {
		case <-hung:
		case <-stream.Context().Done():
		}
	}
	request := new(swarmpb.ListRequest)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	answer, err := m.list(name, request.GetFilters().GetIdPrefixes())
	if err != nil {
		return err
	}
	return stream.SendMsg(answer)
}

func (m *manager) list(method string, prefixes []string) (proto.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.small && len(prefixes) == 0 && method == "ListTasks" {
		return nil, status.Error(codes.ResourceExhausted, "grpc: received message larger than max")
	}
	var answer proto.Message
	switch method {
	case "ListServices":
		answer = &swarmpb.Services{List: m.lists.services}
	case "ListTasks":
		answer = &swarmpb.Tasks{List: withPrefix(m.lists.tasks, prefixes)}
	case "ListNodes":
		answer = &swarmpb.Nodes{List: m.lists.nodes}
	case "ListNetworks":
		answer = &swarmpb.Networks{List: m.lists.networks}
	case "ListSecrets":
		answer = &swarmpb.Secrets{List: m.lists.secrets}
	case "ListConfigs":
		answer = &swarmpb.Configs{List: m.lists.configs}
	default:
		return nil, status.Error(codes.Unimplemented, method)
	}
	return proto.Clone(answer), nil
}

func withPrefix(tasks []*swarmpb.Task, prefixes []string) []*swarmpb.Task {
	if len(prefixes) == 0 {
		return tasks
	}
	var found []*swarmpb.Task
	for _, t := range tasks {
		if strings.HasPrefix(t.GetId(), prefixes[0]) {
			found = append(found, t)
		}
	}
	return found
}

func (m *manager) watch(stream grpc.ServerStream) error {
	request := new(swarmpb.WatchRequest)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	changes := make(chan *swarmpb.WatchMessage, 1000)
	from := request.GetResumeFrom().GetIndex()
	m.mu.Lock()
	m.resumed = append(m.resumed, from)
	if from > 0 && from < m.oldest {
		m.mu.Unlock()
		return status.Error(codes.Unknown, "requested index is unavailable due to compaction")
	}
	for i, change := range m.log {
		if version := m.version - uint64(len(m.log)-1-i); from > 0 && version > from {
			changes <- change
		}
	}
	m.watchers[changes] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, changes)
	}()
	if err := stream.SendMsg(new(swarmpb.WatchMessage)); err != nil {
		return err
	}
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case change := <-changes:
			if err := stream.SendMsg(change); err != nil {
				return err
			}
		}
	}
}

// task stores a task; its version is that of the store before the change, as
// SwarmKit has it.
func (m *manager) task(id, service string, slot int, state, desired swarmpb.Task_State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &swarmpb.Task{
		Id: id, ServiceId: service, Slot: uint64(slot), DesiredState: desired,
		Meta:   &swarmpb.Meta{Version: &swarmpb.Version{Index: m.version}},
		Spec:   &swarmpb.Task_Spec{Container: &swarmpb.Empty{}},
		Status: &swarmpb.Task_Status{State: state},
	}
	action := swarmpb.Action_ACTION_CREATE
	for i := range m.lists.tasks {
		if m.lists.tasks[i].GetId() == id {
			m.lists.tasks[i], action = t, swarmpb.Action_ACTION_UPDATE
		}
	}
	if action == swarmpb.Action_ACTION_CREATE {
		m.lists.tasks = append(m.lists.tasks, t)
	}
	m.tell(action, t)
}

func (m *manager) removeTask(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, t := range m.lists.tasks {
		if t.GetId() == id {
			m.lists.tasks = append(m.lists.tasks[:i:i], m.lists.tasks[i+1:]...)
			m.tell(swarmpb.Action_ACTION_REMOVE, t)
			return
		}
	}
}

func (m *manager) tell(action swarmpb.Action, t *swarmpb.Task) {
	m.version++
	change := &swarmpb.WatchMessage{
		Events: []*swarmpb.WatchMessage_Event{{
			Action: action, Object: &swarmpb.Object{Object: &swarmpb.Object_Task{Task: proto.CloneOf(t)}},
		}},
	}
	m.log = append(m.log, change)
	for w := range m.watchers {
		if !m.mute {
			w <- change
		}
	}
}

func (m *manager) calls(method string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[method]
}

// set changes how the manager behaves.
func (m *manager) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// authority is a Swarm's own.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "swarm-ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.certificate = sign(t, template, template, a.key, a.key)
	return a
}

func (a *authority) issue(t *testing.T) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	certificate := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{serverName}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.certificate, key, a.key)
	return &tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func (a *authority) root(context.Context) ([]byte, error) {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}), nil
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// follower is a source that runs, and what it published.
type follower struct {
	t     *testing.T
	ended chan error

	mu        sync.Mutex
	published []*snapshot.Snapshot
}

// hurried doubts a stream sooner than the product does.
var hurried = pace{pulse: 20 * time.Millisecond, silence: 200 * time.Millisecond, check: 50 * time.Millisecond, lag: 100 * time.Millisecond}

func follow(t *testing.T, m *manager, root func(context.Context) ([]byte, error)) *follower {
	t.Helper()
	f := &follower{t: t, ended: make(chan error, 1)}
	s := New(Options{Socket: m.socket, Root: root, Logger: slog.New(slog.DiscardHandler)})
	s.pace = hurried
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.ended <- s.Run(ctx, func(s *snapshot.Snapshot) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.published = append(f.published, s)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

func (f *follower) latest() *snapshot.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.published) == 0 {
		return nil
	}
	return f.published[len(f.published)-1]
}

// waitFor waits until the latest snapshot has exactly these tasks, as ID:state.
func (f *follower) waitFor(want ...string) {
	f.t.Helper()
	eventually(f.t, func() bool {
		s := f.latest()
		if s == nil {
			return false
		}
		var got []string
		for t := range s.AllTasks() {
			got = append(got, t.ID+":"+t.State.String()+">"+t.Desired.String())
		}
		slices.Sort(got)
		return strings.Join(got, " ") == strings.Join(want, " ")
	}, func() any { return f.latest() })
}

// end waits until Run returns by itself.
func (f *follower) end() error {
	f.t.Helper()
	select {
	case err := <-f.ended:
		f.ended <- err
		return err
	case <-time.After(30 * time.Second):
		f.t.Fatal("it has not ended")
		return nil
	}
}

func eventually(t *testing.T, holds func() bool, state func() any) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen; there is %+v", state())
		}
	}
}
