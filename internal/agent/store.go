package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/interlock-lb/interlock/internal/render"
)

// lastGoodFile is the file of the last good bundle in the state folder: a
// header line, then JSON, encrypted because a bundle may hold keys.
const lastGoodFile = "last-good"

// storeHeader begins the header line; its number counts incompatible formats.
const (
	storeFamily = "interlock-bundle "
	storeHeader = storeFamily + "2\n"
)

// store keeps the last good bundle on a volume. Several agents may use one: each
// reads a bundle that one of them has served, whole.
type store struct {
	dir   string
	root  *os.Root
	vault vault
}

// storedBundle is the format of the file: add fields, but do not rename any.
type storedBundle struct {
	TableVersion string       `json:"tableVersion"`
	Token        string       `json:"token"`
	Files        []storedFile `json:"files"`
}

type storedFile struct {
	Path      string      `json:"path"`
	Mode      fs.FileMode `json:"mode"`
	Data      []byte      `json:"data"`
	Sensitive bool        `json:"sensitive,omitempty"`
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

func (s *store) save(b *served) error {
	stored := storedBundle{TableVersion: b.tableVersion, Token: b.bundle.Token}
	for _, f := range b.bundle.Files {
		stored.Files = append(stored.Files, storedFile{f.Path, f.Mode, f.Data(), f.Sensitive})
	}
	content, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("encoding the bundle: %w", err)
	}
	sealed, err := s.vault.seal(content, storeHeader)
	if err != nil {
		return fmt.Errorf("encrypting the bundle: %w", err)
	}
	if err := WriteFile(s.dir, lastGoodFile, 0o600, append([]byte(storeHeader), sealed...)); err != nil {
		return fmt.Errorf("writing the last good bundle: %w", err)
	}
	return nil
}

// load returns nil where nothing was ever saved.
func (s *store) load(maxSize int) (*served, error) {
	file, err := s.root.Open(lastGoodFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last good bundle: %w", err)
	}
	defer file.Close()
	// In JSON the files take a third more; the rest is for paths.
	limit := int64(maxSize)*3/2 + 16<<20
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the last good bundle: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("the file %s is larger than %d bytes", lastGoodFile, limit)
	}
	return s.decode(data)
}

func (s *store) decode(data []byte) (*served, error) {
	sealed, known := bytes.CutPrefix(data, []byte(storeHeader))
	if !known {
		return nil, fmt.Errorf("the file %s is %s", lastGoodFile, stranger(data))
	}
	content, err := s.vault.open(sealed, storeHeader)
	if err != nil {
		return nil, fmt.Errorf("the file %s: %w", lastGoodFile, err)
	}
	var stored storedBundle
	if err := json.Unmarshal(content, &stored); err != nil {
		return nil, fmt.Errorf("the file %s: %w", lastGoodFile, err)
	}
	b := render.Bundle{Token: stored.Token}
	for _, f := range stored.Files {
		b.Files = append(b.Files, render.File{Path: f.Path, Mode: f.Mode, Content: render.NewContent(f.Data), Sensitive: f.Sensitive})
	}
	return &served{b, b.Version(), stored.TableVersion}, nil
}

// stranger says what a file without our header is.
func stranger(data []byte) string {
	if bytes.HasPrefix(data, []byte(storeFamily)) {
		return "of another version of Interlock"
	}
	return "damaged: it has no header"
}
