package proxy

import "sync/atomic"

// counters are of the server's whole life, but for those that are of now.
type counters struct {
	exchanges atomic.Int64 // being served now; each holds buffers
	refused   atomic.Int64 // connections that were too many
	retries   atomic.Int64
}

// Busy is how many requests are being served now. At rest it is 0, and no
// buffer is held.
func (s *Server) Busy() int64 { return s.stats.exchanges.Load() }
