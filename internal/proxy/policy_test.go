package proxy

import (
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
)

// A key that is stolen opens the sessions of a few days, and not those of ever.
func TestTheKeysOfSessionTicketsRotate(t *testing.T) {
	const day = 24 * time.Hour
	chain, key := fixture.NewAuthority(t).Issue(t, []string{"a.test"})
	synctest.Test(t, func(t *testing.T) {
		ring := keyring{credentials: render.Credentials{"a.test": {Chain: chain, Key: key}}, policies: map[certificate]*policy{}}
		p, err := ring.policy("a.test")
		if err != nil {
			t.Fatal(err)
		}
		session := sessionOf(t, p.config)
		ticket := func() []byte {
			made, err := p.config.EncryptTicket(tls.ConnectionState{}, session)
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		first := ticket()
		for _, later := range []struct {
			after time.Duration
			opens bool
		}{{0, true}, {day + time.Hour, true}, {8 * day, false}} {
			time.Sleep(later.after)
			ticket() // keys change when one is needed
			read, err := p.config.DecryptTicket(first, tls.ConnectionState{})
			if err != nil || (read != nil) != later.opens {
				t.Errorf("another %v later the first ticket is opened: %t, %v", later.after, read != nil, err)
			}
		}
	})
}

// sessionOf is one that a client has begun with a server.
func sessionOf(t *testing.T, of *tls.Config) (begun *tls.SessionState) {
	t.Helper()
	config := of.Clone()
	config.WrapSession = func(_ tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		begun = s
		return nil, nil
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(far, config).Handshake() }()
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return begun
}
