// Package translation tests what labels become, through all the pure rooms: a
// snapshot to a table, over the wire, to the files of an nginx. It has nothing
// but tests; what a real nginx does with the files is tested beside its agent.
package translation
