package agent

import (
	"errors"
	"os"
	"syscall"
	"time"
)

const (
	lockLimit = time.Second // for others to finish
	lockPause = 10 * time.Millisecond
)

var errLocked = errors.New("another agent is writing to the state folder")

// locked does something while no other agent does it in the same folder. It fails
// with errLocked if another one does not come to an end. Where the file system has
// no locks, it is done all the same: what comes of it is checked when it is read.
func locked(root *os.Root, do func() error) error {
	folder, err := root.Open(".")
	if err != nil {
		return err
	}
	defer folder.Close() // and with it the lock goes
	for deadline := time.Now().Add(lockLimit); ; time.Sleep(lockPause) {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return do()
		}
		if time.Now().After(deadline) {
			return errLocked
		}
	}
}
