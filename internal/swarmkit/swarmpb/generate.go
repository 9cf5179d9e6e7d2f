// Package swarmpb holds the messages of SwarmKit's control socket as far as
// Interlock reads them, generated from swarm.proto. It calls nothing.
package swarmpb

//go:generate sh generate.sh
