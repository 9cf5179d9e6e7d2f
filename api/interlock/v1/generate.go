// Package interlockv1 is the control channel between Interlock's processes, as
// generated from interlock.proto.
package interlockv1

//go:generate sh generate.sh
