package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Sweep removes what dead labs left on this machine: labs whose owner ended
// without taking them down, and detached ones that a reboot ended.
func Sweep(ctx context.Context) error {
	unlock, err := lockRoot(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	defer unlock()
	return sweep(ctx)
}

func sweep(ctx context.Context) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(root, e.Name())
		if !dead(dir) {
			continue
		}
		if err := erase(ctx, dir); err != nil {
			return fmt.Errorf("remove what the dead lab %s left: %w", e.Name(), err)
		}
	}
	return nil
}

// dead says whether nobody will take the lab down any more.
func dead(dir string) bool {
	if s, err := readState(dir); err == nil && s.Detached {
		return !newLab(s, dir, nil).fabric.running()
	}
	f, err := own(dir)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// erase ends and removes everything that belongs to the lab of that folder.
// What is gone already is no error.
func erase(ctx context.Context, dir string) error {
	id := filepath.Base(dir)
	if err := removeLink(ctx, hostLinkOf(id)); err != nil {
		return err
	}
	if err := killMachines(ctx, dir); err != nil {
		return err
	}
	if err := removeCgroups(cgroupOf(id)); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func removeLink(ctx context.Context, name string) error {
	if !linkExists(name) {
		return nil
	}
	err := ipBatch(ctx, nil, "link del "+name)
	if err != nil && strings.Contains(err.Error(), "Cannot find device") {
		return nil
	}
	return err
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func killMachines(ctx context.Context, dir string) error {
	var pidFiles []string
	for _, pattern := range []string{"switch/pid", "nodes/*/pid"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		pidFiles = append(pidFiles, found...)
	}
	killing, ctx := errgroup.WithContext(ctx)
	for _, path := range pidFiles {
		killing.Go(func() error {
			p, err := loadProcess(path)
			if err != nil {
				return err
			}
			return p.kill(ctx)
		})
	}
	return killing.Wait()
}
