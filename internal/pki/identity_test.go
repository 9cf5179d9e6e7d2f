package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
)

var (
	core      = pki.Name{Role: pki.RoleCore}
	eastProxy = pki.Name{Role: pki.RoleProxy, Cluster: "us-east"}
	westProxy = pki.Name{Role: pki.RoleProxy, Cluster: "us-west"}
	eastExt   = pki.Name{Role: pki.RoleExtension, Cluster: "us-east"}
)

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *pki.Authority, name pki.Name, lifetime time.Duration) *pki.Identity {
	t.Helper()
	data, err := authority.Issue(name, time.Now(), lifetime)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := pki.NewIdentity(data)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// shake lets a client and a server shake hands over loopback; the error is the
// client's. The server's word arrives at a TLS 1.3 client with the first read.
func shake(t *testing.T, client, server *tls.Config) (clientState, serverState tls.ConnectionState, err error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan tls.ConnectionState, 1)
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("!")); err == nil {
			served <- conn.(*tls.Conn).ConnectionState()
		}
	}()
	defer func() {
		listener.Close()
		serverState = <-served
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err != nil {
		return clientState, serverState, err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState(), serverState, err
}

func TestTheCoreAndAProxyKnowEachOtherByName(t *testing.T) {
	for _, cluster := range []string{"", "us-east", "a/b c?d#e%", "größe", "..", "."} {
		t.Run(cluster, func(t *testing.T) {
			authority := newAuthority(t)
			proxy := pki.Name{Role: pki.RoleProxy, Cluster: cluster}
			caller, callee := issue(t, authority, core, time.Hour), issue(t, authority, proxy, time.Hour)
			clientState, serverState, err := shake(t, caller.ClientConfig(proxy), callee.ServerConfig(pki.RoleCore))
			if err != nil {
				t.Fatal(err)
			}
			if name, err := pki.PeerName(clientState); err != nil || name != proxy {
				t.Errorf("the client sees %v, %v", name, err)
			}
			if name, err := pki.PeerName(serverState); err != nil || name != core {
				t.Errorf("the server sees %v, %v", name, err)
			}
			if clientState.Version != tls.VersionTLS13 {
				t.Errorf("they speak %s", tls.VersionName(clientState.Version))
			}
		})
	}
}

func TestWhoeverIsNotMeantIsRefused(t *testing.T) {
	authority := newAuthority(t)
	theCore, proxy := issue(t, authority, core, time.Hour), issue(t, authority, eastProxy, time.Hour)
	foreign := newAuthority(t)
	old := theCore.ClientConfig(eastProxy)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	anonymous := theCore.ClientConfig(eastProxy)
	anonymous.GetClientCertificate = nil
	for name, test := range map[string]struct {
		client, server *tls.Config
	}{
		"a proxy of another cluster answers":  {theCore.ClientConfig(westProxy), proxy.ServerConfig(pki.RoleCore)},
		"another role answers":                {theCore.ClientConfig(core), proxy.ServerConfig(pki.RoleCore)},
		"a role calls that may not":           {issue(t, authority, eastExt, time.Hour).ClientConfig(eastProxy), proxy.ServerConfig(pki.RoleCore)},
		"a proxy calls":                       {proxy.ClientConfig(core), theCore.ServerConfig(pki.RoleProxy, pki.RoleExtension)},
		"an extension answers":                {theCore.ClientConfig(eastExt), issue(t, authority, eastExt, time.Hour).ServerConfig(pki.RoleCore)},
		"an extension of elsewhere calls":     {issue(t, authority, eastExt, time.Hour).ClientConfig(westProxy), issue(t, authority, westProxy, time.Hour).ServerConfig(pki.RoleExtension)},
		"a core of a foreign authority calls": {issue(t, foreign, core, time.Hour).ClientConfig(eastProxy), proxy.ServerConfig(pki.RoleCore)},
		"a foreign proxy answers":             {theCore.ClientConfig(eastProxy), issue(t, foreign, eastProxy, time.Hour).ServerConfig(pki.RoleCore)},
		"nobody in particular calls":          {anonymous, proxy.ServerConfig(pki.RoleCore)},
		"somebody calls with TLS 1.2":         {old, proxy.ServerConfig(pki.RoleCore)},
		"an expired core calls":               {expired(t, authority, core).ClientConfig(eastProxy), proxy.ServerConfig(pki.RoleCore)},
		"an expired proxy answers":            {theCore.ClientConfig(eastProxy), expired(t, authority, eastProxy).ServerConfig(pki.RoleCore)},
		"a stranger calls where none is needed": {
			issue(t, foreign, core, time.Hour).ClientConfig(eastProxy), proxy.ServerConfigOptionalClient(pki.RoleCore),
		},
		"a role calls that may not where none is needed": {
			issue(t, authority, eastExt, time.Hour).ClientConfig(eastProxy), proxy.ServerConfigOptionalClient(pki.RoleCore),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := shake(t, test.client, test.server); err == nil {
				t.Error("they shook hands")
			}
		})
	}
}

func expired(t *testing.T, authority *pki.Authority, name pki.Name) *pki.Identity {
	t.Helper()
	data, err := authority.Issue(name, time.Now().Add(-30*time.Minute), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := pki.NewIdentity(data)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestAClientWithoutACertificateComesInWhereItIsOptional(t *testing.T) {
	authority := newAuthority(t)
	proxy := issue(t, authority, eastProxy, time.Hour)
	client := issue(t, authority, core, time.Hour).ClientConfig(eastProxy)
	client.GetClientCertificate = nil
	_, state, err := shake(t, client, proxy.ServerConfigOptionalClient(pki.RoleCore))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := pki.PeerName(state); err == nil {
		t.Errorf("it is taken for %s", name)
	}
}

func TestSessionsAreNotResumed(t *testing.T) {
	authority := newAuthority(t)
	server := issue(t, authority, eastProxy, time.Hour).ServerConfig(pki.RoleCore)
	client := issue(t, authority, core, time.Hour).ClientConfig(eastProxy)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		state, _, err := shake(t, client, server)
		if err != nil {
			t.Fatal(err)
		}
		if state.DidResume {
			t.Error("the second connection resumed the first one's session")
		}
	}
}

func TestARenewedIdentityIsUsedFromThenOn(t *testing.T) {
	authority := newAuthority(t)
	theCore, proxy := issue(t, authority, core, time.Hour), issue(t, authority, eastProxy, time.Minute)
	server := proxy.ServerConfig(pki.RoleCore) // made before the renewal
	before := proxy.Expires()
	csr, err := proxy.RequestRenewal()
	if err != nil {
		t.Fatal(err)
	}
	der, err := authority.Sign(csr, eastProxy, time.Now(), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.CompleteRenewal(der); err != nil {
		t.Fatal(err)
	}
	state, _, err := shake(t, theCore.ClientConfig(eastProxy), server)
	if err != nil {
		t.Fatal(err)
	}
	if got := state.PeerCertificates[0].NotAfter; !got.After(before) || !got.Equal(proxy.Expires()) {
		t.Errorf("the certificate shown expires on %s, the first one on %s", got, before)
	}
	if err := proxy.CompleteRenewal(der); err == nil {
		t.Error("the same renewal was taken twice")
	}
}

func TestARenewalThatIsNotOneLeavesTheIdentityAlone(t *testing.T) {
	authority := newAuthority(t)
	proxy := issue(t, authority, eastProxy, time.Hour)
	before := proxy.Expires()
	first, err := proxy.RequestRenewal()
	if err != nil {
		t.Fatal(err)
	}
	latest, err := proxy.RequestRenewal()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(a *pki.Authority, csr []byte, name pki.Name, now time.Time) []byte {
		der, err := a.Sign(csr, name, now, 30*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for name, der := range map[string][]byte{
		"garbage":           []byte("x"),
		"an outdated key":   sign(authority, first, eastProxy, time.Now()),
		"another name":      sign(authority, latest, westProxy, time.Now()),
		"another authority": sign(newAuthority(t), latest, eastProxy, time.Now()),
		"expired":           sign(authority, latest, eastProxy, time.Now().Add(-45*time.Minute)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := proxy.CompleteRenewal(der); err == nil {
				t.Error("it was taken")
			}
			if !proxy.Expires().Equal(before) {
				t.Error("the identity has changed")
			}
		})
	}
}

func TestAnIdentityIsReadFromAFile(t *testing.T) {
	authority := newAuthority(t)
	data, err := authority.Issue(eastProxy, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "identity.pem")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	identity, err := pki.LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	if identity.Name() != eastProxy {
		t.Errorf("it is %s", identity.Name())
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.LoadIdentity(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a huge file: %v", err)
	}
}

func TestWhatIsNotAnIdentityIsRefused(t *testing.T) {
	authority := newAuthority(t)
	data, err := authority.Issue(eastProxy, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	own := bytes.TrimSuffix(data, authority.CertificatePEM())
	unnamed := newOperatorCA(t, ecKey(t), func(c *x509.Certificate) { c.IsCA = false })
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"the authority is missing": {own, "does not vouch"},
		"the authority is another": {join(own, newAuthority(t).CertificatePEM()), "does not vouch"},
		"no name":                  {join(unnamed.certPEM(), unnamed.pkcs8PEM(t)), "does not name a part"},
		"an authority":             {authority.PEM(), "does not name a part"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := pki.NewIdentity(test.data); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestAFreshIdentityIsNotDueForRenewal(t *testing.T) {
	authority := newAuthority(t)
	for _, lifetime := range []time.Duration{10 * time.Second, time.Hour, pki.SecretLifetime} {
		identity := issue(t, authority, eastProxy, lifetime)
		if wait := time.Until(identity.RenewAt()); wait < lifetime/4 {
			t.Errorf("with a lifetime of %s it is due after %s", lifetime, wait)
		}
	}
}
