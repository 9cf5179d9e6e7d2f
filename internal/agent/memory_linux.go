package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// onTmpfs reports whether the kernel keeps a folder's files in memory: on a
// tmpfs, or on a ramfs, which besides is never swapped.
func onTmpfs(folder string) (bool, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return false, &os.PathError{Op: "statfs", Path: folder, Err: err}
	}
	return stat.Type == unix.TMPFS_MAGIC || stat.Type == unix.RAMFS_MAGIC, nil
}
