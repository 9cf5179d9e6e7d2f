package nginx

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// socketsIn returns the paths of the sockets in a folder.
func socketsIn(folder string) (paths []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("looking for sockets: %w", err)
	}
	for _, entry := range entries {
		if entry.Type() == fs.ModeSocket {
			paths = append(paths, filepath.Join(folder, entry.Name()))
		}
	}
	return paths, nil
}

// removeSockets removes the sockets of a folder but for those that are to stay. nginx
// could not listen there.
func removeSockets(folder string, but []string) error {
	paths, err := socketsIn(folder)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if slices.Contains(but, path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing an old socket: %w", err)
		}
	}
	return nil
}

// removeStaleSockets removes what a killed nginx left behind beside its status
// socket.
func removeStaleSockets(status string) error {
	if info, err := os.Lstat(status); err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("the status socket's path %s is taken by something that is no socket", status)
	}
	return removeSockets(filepath.Dir(status), nil)
}
