package nginx

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Become makes this process nginx, which then has the container to itself and
// nobody beside it. It returns only if that fails.
func Become(binary, config string) error {
	path, err := exec.LookPath(binary)
	if err != nil {
		return fmt.Errorf("finding nginx: %w", err)
	}
	if err := syscall.Exec(path, append([]string{binary}, arguments(config)...), os.Environ()); err != nil {
		return fmt.Errorf("becoming nginx: %w", err)
	}
	return nil
}
