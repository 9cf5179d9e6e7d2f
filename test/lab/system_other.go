//go:build !linux

package lab

import (
	"errors"
	"os"
	"syscall"
)

// Without Linux there are no labs, and Unavailable says so before anything here
// is called.
const (
	stopSignal     = syscall.Signal(0)
	continueSignal = syscall.Signal(0)
)

func ownNamespaces() *syscall.SysProcAttr { return nil }

func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }
