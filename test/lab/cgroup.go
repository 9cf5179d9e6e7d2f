package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cgroupTimeout bounds the wait for the kernel to let go of a dead container's
// control group.
const cgroupTimeout = 10 * time.Second

func cgroupOf(id string) string { return "/interlock-lab-" + id }

// removeCgroups removes the control group and all below it, in every hierarchy
// that this machine has.
func removeCgroups(group string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		top := filepath.Join(m, group)
		err := Eventually(context.Background(), cgroupTimeout, func(context.Context) error { return removeCgroup(top) })
		if err != nil {
			return fmt.Errorf("remove control group %s: %w", top, err)
		}
	}
	return nil
}

// removeCgroup removes folders only: the files in them are the kernel's.
func removeCgroup(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func cgroupMounts() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("find the control groups: %w", err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[2], "cgroup") {
			all = append(all, f[1])
		}
	}
	return all, nil
}
