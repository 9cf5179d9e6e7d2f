//go:build !linux

package proxy

import "syscall"

// limitSilence is for Linux only: elsewhere TCP tries for as long as it does.
func limitSilence(syscall.RawConn, int) {}
