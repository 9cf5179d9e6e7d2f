package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/wire"
)

// lastGoodFile is the file of the last good bundle in the state folder: a
// header line, then a journal, encrypted because a bundle may hold keys.
const lastGoodFile = "last-good"

// storeFamily begins the header line; the number after it counts incompatible
// formats.
const storeFamily = "interlock-bundle "

// store keeps the last good bundle on a volume. Several agents may use one: each
// reads a bundle that one of them has served, whole.
type store struct {
	dir   string
	root  *os.Root
	vault vault
	// damaged says that not all of the file can be read, so that nothing must be
	// added to it.
	damaged bool
}

func openStore(dir string, key func() ([]byte, error)) (*store, error) {
	// Others may pass through: the proxy's workers have folders below it.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the state folder: %w", err)
	}
	RemoveAbandoned(root, lastGoodFile)
	return &store{dir: dir, root: root, vault: vault{key: key}}, nil
}

func (s *store) close() { _ = s.root.Close() }

// save makes next the last good. It writes only what makes it of before, which was
// served before it, where the file has that; before may be nil.
func (s *store) save(before, next *served) error {
	header, err := s.header()
	if err != nil {
		return fmt.Errorf("encrypting the bundle: %w", err)
	}
	err = locked(s.root, func() error {
		added, err := s.add(header, before, next)
		if added || err != nil {
			return err
		}
		return s.write(header, next)
	})
	if err != nil {
		return fmt.Errorf("writing the last good bundle: %w", err)
	}
	return nil
}

// header is the line that the file begins with. It says which key the rest was
// written with.
func (s *store) header() (string, error) {
	fingerprint, err := s.vault.fingerprint()
	if err != nil {
		return "", err
	}
	return storeFamily + journalWord + fingerprint + "\n", nil
}

// write makes a file of one record.
func (s *store) write(header string, b *served) error {
	r := record{version: b.version}
	encoded, err := s.encode(header, &r, &interlockv1.ApplyBundleRequest{Bundle: wire.BundleMessage(&b.bundle), TableVersion: b.tableVersion})
	if err != nil {
		return err
	}
	if err := WriteFile(s.dir, lastGoodFile, 0o600, append([]byte(header), encoded...)); err != nil {
		return err
	}
	s.damaged = false
	return nil
}

// add adds a record to the file, and reports whether it has what it must. What is
// cut off by a crash is left out when it is read.
func (s *store) add(header string, before, next *served) (added bool, err error) {
	if s.damaged || before == nil {
		return false, nil
	}
	change := wire.BundleChangeMessage(&before.bundle, before.version, &next.bundle, next.version)
	if change == nil {
		return false, nil
	}
	file, err := s.root.OpenFile(lastGoodFile, os.O_RDWR, 0)
	if err != nil {
		return false, nil // then it is written anew
	}
	defer file.Close()
	j, err := journalOf(file, header)
	switch {
	case err != nil || !j.has(before.version):
		return false, nil // likewise
	case j.last() == next.version && before.version != next.version:
		return true, nil // another agent has added it
	}
	r := record{base: before.version, version: next.version}
	encoded, err := s.encode(header, &r, &interlockv1.ApplyBundleRequest{Change: change, TableVersion: next.tableVersion})
	if err != nil || !j.takes(len(encoded)) {
		return false, err
	}
	if _, err = file.WriteAt(encoded, j.end); err == nil {
		err = file.Sync()
	}
	if err != nil {
		_ = file.Truncate(j.end) // else the record is left out as cut off
		return false, err
	}
	return true, nil
}

func journalOf(file *os.File, header string) (*journal, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return readJournal(file, info.Size(), header)
}

func (s *store) encode(header string, r *record, message *interlockv1.ApplyBundleRequest) ([]byte, error) {
	content, err := proto.Marshal(message)
	if err != nil {
		return nil, err
	}
	sealed, err := s.vault.seal(content, r.label(header))
	if err != nil {
		return nil, err
	}
	return r.encode(sealed), nil
}

// load returns nil where nothing was ever saved. Where there is a bundle and an
// error, a newer one than that was saved and cannot be read.
func (s *store) load(maxSize int) (b *served, err error) {
	err = locked(s.root, func() error {
		b, err = s.read(maxSize)
		return err
	})
	if errors.Is(err, errLocked) {
		b, err = s.read(maxSize) // whoever hangs there must not keep this proxy from starting
	}
	s.damaged = err != nil
	return b, err
}

func (s *store) read(maxSize int) (*served, error) {
	file, err := s.root.Open(lastGoodFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last good bundle: %w", err)
	}
	defer file.Close()
	// A whole bundle, of which the former format makes a third more, and changes
	// of that size; the rest is for paths.
	limit := int64(maxSize)*3 + 32<<20
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the last good bundle: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("the file %s is larger than %d bytes", lastGoodFile, limit)
	}
	b, err := s.decode(data)
	if err != nil {
		return b, fmt.Errorf("the file %s: %w", lastGoodFile, err)
	}
	return b, nil
}

func (s *store) decode(data []byte) (*served, error) {
	if sealed, former := bytes.CutPrefix(data, []byte(formerHeader)); former {
		return s.decodeFormer(sealed)
	}
	if !bytes.HasPrefix(data, []byte(storeFamily+journalWord)) {
		return nil, stranger(data)
	}
	header, err := s.header()
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(data, []byte(header)) {
		return nil, errSealed
	}
	j, err := readJournal(bytes.NewReader(data), int64(len(data)), header)
	if err != nil {
		return nil, err
	}
	return s.replay(data, header, j)
}

// replay makes the bundle of the last record, or of the last before damage.
func (s *store) replay(data []byte, header string, j *journal) (b *served, err error) {
	known := newBases(j.records)
	for i, r := range j.records {
		next, err := s.decodeRecord(data[r.start:r.start+r.size], header, &r, known.of(&r))
		if err != nil {
			return b, err
		}
		b = next
		known.passed(i, &next.bundle)
	}
	if j.cut {
		return b, errors.New("the end of what was saved last is missing")
	}
	return b, nil
}

// decodeRecord reads the bundle of one record, of which the base is given if it has one.
func (s *store) decodeRecord(sealed []byte, header string, r *record, base *render.Bundle) (*served, error) {
	content, err := s.vault.open(sealed, r.label(header))
	if err != nil {
		return nil, err
	}
	var message interlockv1.ApplyBundleRequest
	if err := proto.Unmarshal(content, &message); err != nil {
		return nil, err
	}
	var b render.Bundle
	if r.base == "" {
		b, err = wire.Bundle(message.GetBundle())
	} else {
		b, err = wire.ChangedBundle(base, message.GetChange())
	}
	if err != nil {
		return nil, err
	}
	return &served{b, r.version, message.GetTableVersion()}, nil
}

// stranger says what a file without our header is.
func stranger(data []byte) error {
	if bytes.HasPrefix(data, []byte(storeFamily)) {
		return errors.New("it is of another version of Interlock")
	}
	return errors.New("it is damaged: it has no header")
}
