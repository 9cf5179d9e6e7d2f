// Package proxies measures what a request costs the native proxy, in turns with
// nginx, HAProxy, Caddy and a relay that only copies bytes. `make bench` runs it.
//
// Each proxy has one core, the apps and the clients have another, and all add the
// same fields. A case has five rounds, in each of which every contender is loaded
// for two seconds; what counts is the ratio to nginx within a round, since other
// work on the machine is in all figures of it. Nothing here fails because it was
// slow.
package proxies
