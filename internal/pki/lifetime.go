package pki

import "time"

const (
	// SecretLifetime is how long an identity is valid that is kept in a secret.
	// A part that starts again starts from that one, and Swarm replaces tasks to
	// change a secret, so it is long.
	SecretLifetime = 3 * 365 * 24 * time.Hour
	// IssuedLifetime is how long an identity is valid that lives in memory only
	// and is renewed while it is in use.
	IssuedLifetime = 90 * 24 * time.Hour
	// AuthorityLifetime is how long an authority that we make is valid.
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	// maxSkew is how far the clocks of two nodes may be apart before a fresh
	// certificate looks as if it came from the future.
	maxSkew = time.Hour
)

// RenewAt is when a certificate enters the last third of its validity.
func RenewAt(notBefore, notAfter time.Time) time.Time {
	return notAfter.Add(-notAfter.Sub(notBefore) / 3)
}

// backdated is where the validity of a certificate issued now begins. For short
// lifetimes it lies less far back, so that a fresh one is not due at once.
func backdated(now time.Time, lifetime time.Duration) time.Time {
	return now.Add(-min(maxSkew, lifetime/2))
}
