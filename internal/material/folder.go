// Package material reads the secret contents that stand as files in a folder,
// as Docker puts them into a container.
//
// It does not know what they are for, and looks at nothing of them.
package material

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSize is in bytes. Docker takes no secret of more than 500 KB.
const maxSize = 512 << 10

// Folder is a folder with one file for each content, under its name.
type Folder string

// Read returns a content; the error is fs.ErrNotExist if it is not there. A name
// comes from labels, so it is never more than the name of a regular file in the
// folder itself.
func (f Folder) Read(name string) ([]byte, error) {
	if name == "" || name == "." || name == ".." || filepath.Base(name) != name {
		return nil, fmt.Errorf("%.80q is not the name of a secret", name)
	}
	root, err := os.OpenRoot(string(f))
	if err != nil {
		return nil, fmt.Errorf("opening the folder of secrets: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("looking for the secret: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file: %w", name, fs.ErrInvalid)
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the secret: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = errors.New("it is longer than any secret of Docker's")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the secret %s: %w", name, err)
	}
	return data, nil
}
