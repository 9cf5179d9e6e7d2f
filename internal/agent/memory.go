package agent

import (
	"fmt"
	"os"
)

// memory is the folder for what must never come to a disk.
type memory struct {
	folder string
	verify func(folder string) (inMemory bool, err error)
}

// prepare makes the folder for the agent's user alone. It refuses what is to be
// placed there unless the folder is in memory.
func (m memory) prepare() error {
	if err := os.MkdirAll(m.folder, 0o700); err != nil {
		return fmt.Errorf("making the folder for keys: %w", err)
	}
	// The mode that is needed, whatever was there before.
	if err := os.Chmod(m.folder, 0o700); err != nil {
		return fmt.Errorf("keeping others out of the folder for keys: %w", err)
	}
	inMemory, err := m.verify(m.folder)
	if err != nil {
		return fmt.Errorf("looking at the file system of %s: %w", m.folder, err)
	}
	if !inMemory {
		return &Refused{Reason: fmt.Sprintf("the bundle holds keys, and %s is not in memory, so they would come to a disk: "+
			"mount a tmpfs there or above it (docker service update --mount-add type=tmpfs,target=/run/interlock)", m.folder)}
	}
	return nil
}
