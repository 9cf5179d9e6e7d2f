// Package load is a client of the demo app that counts: every request that it
// sends ends as answered, lost or misrouted, and none is tried again.
//
// It sends GET and POST requests, on connections that it keeps and on new ones,
// at a bounded rate to each of several proxies. It speaks HTTP over its own
// connections, since net/http's client hides what this one is here to see: it
// sends a request again when a kept connection breaks under it. It asserts
// nothing, and knows neither Docker nor Interlock.
package load
