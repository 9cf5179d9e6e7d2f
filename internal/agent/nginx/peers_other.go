//go:build !linux

package nginx

import "errors"

// sockets are for Linux only.
type sockets struct{}

func openSockets() (*sockets, error) { return nil, errors.ErrUnsupported }

func (*sockets) sentAgain() (string, error) { return "", errors.ErrUnsupported }

func (*sockets) pending() ([]pending, error) { return nil, errors.ErrUnsupported }

func (*sockets) listening() (map[uint16]bool, error) { return nil, errors.ErrUnsupported }

func (*sockets) end(pending) (bool, error) { return false, errors.ErrUnsupported }
