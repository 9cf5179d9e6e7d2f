package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/agent"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// LastTable keeps the table that a standalone serves in a folder, so that it
// has one to start with while Swarm cannot be read. It holds no keys.
type LastTable struct {
	folder, cluster string
	log             *slog.Logger
	latest          atomic.Pointer[route.Table]
	changed         chan struct{}

	// written is the hash of what the file holds, if this process has written it;
	// told is the last complaint.
	written [sha256.Size]byte
	told    string
}

const (
	lastTableFile = "last-table"
	// lastTableHeader begins the file; its number counts incompatible formats.
	lastTableHeader = "interlock-table 1\n"
	// maxLastTable bounds the file; 10,000 hosts with ten tasks each take a tenth.
	maxLastTable = 256 << 20
	// keepEvery is how often the file is written at most.
	keepEvery = time.Second
)

// NewLastTable keeps the table of a service cluster. The folder is made when
// there is something to keep.
func NewLastTable(folder, cluster string, log *slog.Logger) *LastTable {
	return &LastTable{folder: folder, cluster: cluster, log: log, changed: make(chan struct{}, 1)}
}

// Load returns the table that was kept; nil where none was, or only that of
// another cluster.
func (l *LastTable) Load() (*route.Table, error) {
	data, err := l.read()
	if data == nil || err != nil {
		return nil, err
	}
	t, err := l.decode(data)
	if err != nil {
		return nil, fmt.Errorf("the last table in %s: %w", l.folder, err)
	}
	return t, nil
}

// read returns nil where there is no file.
func (l *LastTable) read() ([]byte, error) {
	root, err := os.OpenRoot(l.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the state folder: %w", err)
	}
	defer root.Close()
	agent.RemoveAbandoned(root, lastTableFile)
	file, err := root.Open(lastTableFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last table: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxLastTable))
	if err != nil {
		return nil, fmt.Errorf("reading the last table: %w", err)
	}
	return data, nil
}

func (l *LastTable) decode(data []byte) (*route.Table, error) {
	content, known := bytes.CutPrefix(data, []byte(lastTableHeader))
	if !known || len(content) < sha256.Size {
		return nil, errors.New("it is damaged, or of another version of Interlock")
	}
	sum, content := content[:sha256.Size], content[sha256.Size:]
	if is := sha256.Sum256(content); !bytes.Equal(sum, is[:]) {
		return nil, errors.New("it is damaged")
	}
	cluster, content, _ := bytes.Cut(content, []byte{0})
	if string(cluster) != l.cluster {
		return nil, nil
	}
	message := &interlockv1.Table{}
	if err := proto.Unmarshal(content, message); err != nil {
		return nil, err
	}
	return wire.Table(message)
}

func (l *LastTable) encode(t *route.Table) ([]byte, error) {
	content := append([]byte(l.cluster), 0)
	content, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(content, wire.TableMessage(t))
	if err != nil {
		return nil, fmt.Errorf("writing the table down: %w", err)
	}
	sum := sha256.Sum256(content)
	data := slices.Concat([]byte(lastTableHeader), sum[:], content)
	if len(data) > maxLastTable {
		return nil, fmt.Errorf("the table takes more than %d MB", maxLastTable>>20)
	}
	return data, nil
}

// Keep has Run write down a table, which may not be changed afterwards.
func (l *LastTable) Keep(t *route.Table) {
	l.latest.Store(t)
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Run writes down what is to be kept, off the way of who serves it, until ctx
// ends, and then once more. That it cannot be is logged, and no reason to end.
func (l *LastTable) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.changed:
		}
		l.write()
		select {
		case <-ctx.Done():
		case <-time.After(keepEvery):
		}
	}
	l.write()
	return nil
}

// write writes the latest table unless it is what was written before.
func (l *LastTable) write() {
	t := l.latest.Load()
	if t == nil {
		return
	}
	data, err := l.encode(t)
	sum := sha256.Sum256(data)
	if err == nil && sum == l.written {
		return
	}
	if err == nil {
		err = os.MkdirAll(l.folder, 0o755)
	}
	if err == nil {
		err = agent.WriteFile(l.folder, lastTableFile, 0o600, data)
	}
	if err == nil {
		l.written, l.told = sum, ""
		return
	}
	if err.Error() != l.told {
		l.told = err.Error()
		l.log.Warn("the table cannot be kept, and a start while Swarm cannot be read would serve nobody: mount a volume there, or name another folder with --state",
			"folder", l.folder, "error", err)
	}
}
