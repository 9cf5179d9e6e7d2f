// Package conformance holds both sources of readings, the Docker API and
// SwarmKit's control socket, against each other at every manager of a real Swarm:
// whatever happens there, they must come to equal snapshots. No Interlock runs.
package conformance
