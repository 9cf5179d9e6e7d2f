package nginx_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"testing"

	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// proven is a table in which demo.local has a certificate, and the bundle for
// it with a newly issued one.
func (r *rig) proven(authority *fixture.Authority, app string) (b render.Bundle, chain []byte) {
	r.t.Helper()
	chain, key := authority.Issue(r.t, []string{"demo.local"})
	r.credentials = render.Credentials{"demo.local": {Chain: chain, Key: key}}
	table := &route.Table{
		Hosts: []route.VirtualHost{{
			Name: "demo.local", Credential: &route.Credential{Chain: route.Material{Name: "c", ID: "c"}, Key: route.Material{Name: "k", ID: "k"}},
			Redirects: []route.Redirect{{Scheme: "http", Target: "https://" + app}, {Scheme: "https", Target: "https://" + app}},
		}},
	}
	return r.render(r.port, table, nil), chain
}

// shows fails unless a new connection is shown the certificate.
func (r *rig) shows(authority *fixture.Authority, chain []byte) {
	r.t.Helper()
	if got, err := r.shown(authority); err != nil || !bytes.Contains(chain, got) {
		r.t.Errorf("another certificate is shown: %v", err)
	}
}

func (r *rig) shown(authority *fixture.Authority) ([]byte, error) {
	config := &tls.Config{RootCAs: authority.Pool(), ServerName: "demo.local"}
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.sslPort), config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}), nil
}

// keys are the names of the files that hold keys.
func (r *rig) keys() []string {
	r.t.Helper()
	return fixture.Names(r.t, r.path("keys"))
}

func TestARenewedCertificateIsShownAndTheOldKeyIsGone(t *testing.T) {
	r, authority := newRig(t), fixture.NewAuthority(t)
	first, chain := r.proven(authority, "one")
	r.apply(first)
	r.shows(authority, chain)
	second, renewed := r.proven(authority, "one")
	r.apply(second)
	r.shows(authority, renewed)
	r.inPlace(second)
	if keys := r.keys(); len(keys) != 1 {
		t.Errorf("there are the keys %q", keys)
	}
}

func TestABundleThatIsTakenBackHadOtherKeys(t *testing.T) {
	r, authority := newRig(t), fixture.NewAuthority(t)
	good, chain := r.proven(authority, "one")
	r.apply(good)
	taken, port := takePort(t)
	defer taken.Close()
	before := r.port
	r.port = port
	bad, _ := r.proven(authority, "one")
	r.refused(bad)
	r.port = before
	r.shows(authority, chain)
	r.inPlace(good)
	if keys := r.keys(); len(keys) != 1 {
		t.Errorf("the keys of the bundle that was taken back are still there: %q", keys)
	}
}

func TestAnAgentStartsWithItsKeysFromTheVolume(t *testing.T) {
	r, authority := newRig(t), fixture.NewAuthority(t)
	good, chain := r.proven(authority, "one")
	r.apply(good)
	r.stop()
	for _, folder := range []string{"etc", "keys"} { // a new container has neither
		if err := os.RemoveAll(r.path(folder)); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.eventually("served again", func() bool {
		_, err := r.shown(authority)
		return err == nil
	})
	r.shows(authority, chain)
}
