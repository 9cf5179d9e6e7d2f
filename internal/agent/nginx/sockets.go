package nginx

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// boundSockets is where Linux lists the unix sockets of this network namespace, each
// with its path at the end of the line (proc(5)).
const boundSockets = "/proc/net/unix"

// removeUnboundSockets removes the sockets of a folder that nobody has opened. nginx
// leaves them behind when it closes what it opened for files that it then refuses, and
// could not listen there again.
func removeUnboundSockets(folder string) error {
	bound, err := os.ReadFile(boundSockets)
	if err != nil {
		return fmt.Errorf("looking for open sockets: %w", err)
	}
	open := make(map[string]bool)
	for line := range bytes.Lines(bound) {
		if i := bytes.LastIndexByte(line, ' '); i >= 0 {
			open[string(bytes.TrimSpace(line[i:]))] = true
		}
	}
	return removeSockets(folder, func(path string) bool { return !open[path] })
}

// removeStaleSockets removes what a killed nginx left behind beside its status
// socket.
func removeStaleSockets(status string) error {
	if info, err := os.Lstat(status); err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("the status socket's path %s is taken by something that is no socket", status)
	}
	return removeSockets(filepath.Dir(status), func(string) bool { return true })
}

// removeSockets removes those sockets of a folder.
func removeSockets(folder string, those func(path string) bool) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("looking for old sockets: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if entry.Type() != fs.ModeSocket || !those(path) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing an old socket: %w", err)
		}
	}
	return nil
}
