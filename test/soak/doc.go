// Package soak puts a Swarm with Interlock on it through what happens to
// clusters, while a client counts what becomes of its requests: nothing may be
// lost that anybody could save, and nothing may ever be misrouted.
//
// Its tests are the thirteen scenarios of docs/reliability.md, in a short form for
// `make test` and in the full one of `make soak`, which writes that page's table.
// How fast Interlock is, bench/ measures.
package soak
