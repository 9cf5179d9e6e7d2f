package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/interlock-lb/interlock/internal/render"
)

// stage is a folder where the proxy is asked about files before they are in place.
// It stays from one bundle to the next, so that only what differs is written.
// Sensitive files are not for it: they are placed before a check.
type stage struct {
	parent string        // empty: the system's for temporary files
	root   string        // empty: not made
	holds  render.Bundle // whose files are there
}

// set makes the files of a bundle stand below root as they are to stand below "/".
func (s *stage) set(b *render.Bundle) (root string, err error) {
	if s.root != "" && (!s.intact() || s.fill(b) != nil) {
		s.remove() // whatever it is, a new one has none of it
	}
	if s.root == "" {
		if s.root, err = os.MkdirTemp(s.parent, "interlock-check-"); err != nil {
			return "", fmt.Errorf("making a folder for a check: %w", err)
		}
		if err := s.fill(b); err != nil {
			s.remove()
			return "", fmt.Errorf("staging a file: %w", err)
		}
	}
	return s.root, nil
}

// intact reports whether nobody has taken anything away, as those do who clean up
// temporary files.
func (s *stage) intact() bool {
	for i := range s.holds.Files {
		f := &s.holds.Files[i]
		if f.Sensitive {
			continue
		}
		if info, err := os.Lstat(filepath.Join(s.root, f.Path)); err != nil || info.Size() != int64(f.Size()) {
			return false
		}
	}
	return true
}

func (s *stage) fill(b *render.Bundle) error {
	changed, gone := render.Differences(&s.holds, b)
	_, changed = divide(changed)
	_, gone = divide(gone)
	for _, file := range gone {
		removeFile(s.root, strings.TrimPrefix(file.Path, "/"))
	}
	for _, file := range changed {
		if err := replaceFile(s.root, strings.TrimPrefix(file.Path, "/"), file.Mode, file.Data(), false); err != nil {
			return err
		}
	}
	s.holds = *b
	return nil
}

// remove takes the folder away. What is left behind goes with the container.
func (s *stage) remove() {
	if s.root != "" {
		_ = os.RemoveAll(s.root)
	}
	s.root, s.holds = "", render.Bundle{}
}
