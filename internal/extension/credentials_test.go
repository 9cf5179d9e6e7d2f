package extension_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interlock-lb/interlock/internal/extension"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// safe has the contents that an extension has been given.
type safe map[string][]byte

func (s safe) Read(name string) ([]byte, error) {
	if content, there := s[name]; there {
		return content, nil
	}
	return nil, fs.ErrNotExist
}

// keeper is a core and a renderer that keep all that they get.
type keeper struct {
	*fakeCore
	mu          sync.Mutex
	results     []render.Result
	credentials []render.Credentials
}

func (k *keeper) PutBundle(_ context.Context, _ uint64, _ string, r render.Result) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.results = append(k.results, r)
	return nil
}

func (k *keeper) Render(_ *route.Table, _ render.Parameters, c render.Credentials) (render.Bundle, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.credentials = append(k.credentials, c)
	return render.Bundle{Token: fmt.Sprint(len(c))}, nil
}

// offered runs an extension, publishes tables and returns what came back.
func offered(t *testing.T, s safe, wait time.Duration, tables ...*route.Table) *keeper {
	t.Helper()
	k := &keeper{fakeCore: newFakeCore()}
	synctest.Test(t, func(t *testing.T) {
		k.publish = make(chan render.Publication)
		ctx, cancel := context.WithCancel(t.Context())
		e := extension.New(extension.Options{
			Core: k, Renderer: k, Materials: s, Logger: slog.New(slog.DiscardHandler),
			Identity: &fakeIdentity{renewAt: time.Now().Add(365 * 24 * time.Hour)},
		})
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		for i, table := range tables {
			k.publish <- render.Publication{Generation: uint64(i), Version: table.Version(), Table: table}
			synctest.Wait()
		}
		time.Sleep(wait)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return k
}

// secured is a table with one host.
func secured(host, chain, key string) *route.Table {
	return &route.Table{Hosts: []route.VirtualHost{{Name: host, Credential: &route.Credential{
		Chain: route.Material{Name: chain, ID: "id-" + chain}, Key: route.Material{Name: key, ID: "id-" + key}, Asker: "shop",
	}}}}
}

// The fake clock of a bubble begins in the year 2000.
func goodIn2000(c *x509.Certificate) {
	c.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	c.NotAfter = time.Date(2000, 6, 1, 0, 0, 0, 0, time.UTC)
}

func TestAHostIsRenderedWithThePairThatItsTableNames(t *testing.T) {
	chain, key := fixture.NewAuthority(t).Issue(t, []string{"shop.test"}, goodIn2000)
	joined := slices.Concat([]byte("a remark\n"), key, chain)
	for name, s := range map[string]safe{"two": {"c": chain, "k": key}, "joined": {"c": joined, "k": joined}} {
		t.Run(name, func(t *testing.T) {
			k := offered(t, s, 0, secured("shop.test", "c", "k"))
			want := render.Pair{Chain: chain, Key: key}
			if got := k.credentials[0]["shop.test"]; string(got.Chain) != string(want.Chain) || string(got.Key) != string(want.Key) {
				t.Errorf("got %s", got.Chain)
			}
			if r := k.results[0]; len(r.Findings) > 0 || len(r.Missing) > 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestWhileASecretIsOnItsWayTheLastGoodCertificateStays(t *testing.T) {
	chain, key := fixture.NewAuthority(t).Issue(t, []string{"shop.test"}, goodIn2000)
	k := offered(t, safe{"v1": slices.Concat(chain, key)}, 0, secured("shop.test", "v1", "v1"), secured("shop.test", "v2", "v2"))
	last := k.results[len(k.results)-1]
	if !slices.Equal(last.Missing, []string{"v2"}) || len(last.Findings) > 0 || last.Bundle.Token != "1" {
		t.Errorf("got %+v", last)
	}
	for _, c := range k.credentials {
		if string(c["shop.test"].Chain) != string(chain) {
			t.Errorf("rendered with %q", c["shop.test"].Chain)
		}
	}
}

func TestAHostWhoseSecretNeverWasThereHasNoTLSYet(t *testing.T) {
	k := offered(t, safe{}, 0, secured("shop.test", "c", "k"))
	if r := k.results[0]; !slices.Equal(r.Missing, []string{"c", "k"}) || len(k.credentials[0]) != 0 {
		t.Errorf("got %+v, %v", r, k.credentials[0])
	}
}

func TestWhatCannotBeUsedIsLeftOutAndSaid(t *testing.T) {
	authority := fixture.NewAuthority(t)
	chain, key := authority.Issue(t, []string{"shop.test"}, goodIn2000)
	_, other := authority.Issue(t, []string{"shop.test"}, goodIn2000)
	for name, test := range map[string]struct {
		chain, key []byte
		want       string
	}{
		"no PEM":            {[]byte("hello"), key, "no certificate"},
		"another's key":     {chain, other, "do not make a pair"},
		"no key":            {chain, chain, "no key"},
		"two keys":          {chain, slices.Concat(key, other), "more than one key"},
		"a broken issuer":   {slices.Concat(chain, []byte("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")), key, "of 2 PEM blocks 1"},
		"an odd issuer":     {slices.Concat(chain, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), key, "certificate 2"},
		"issuer first":      {slices.Concat(authority.PEM(), chain), key, "own certificate comes first"},
		"an encrypted key":  {chain, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "pass phrase"},
		"nothing at all":    {nil, nil, "no certificate"},
		"a key of no kind":  {chain, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "do not make a pair"},
		"a short RSA key":   {[]byte(shortRSA), key, "1024 bits"},
		"an injected block": {[]byte("}\nserver {"), key, "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			k := offered(t, safe{"c": test.chain, "k": test.key}, 0, secured("shop.test", "c", "k"))
			f := k.results[0].Findings
			if len(f) != 1 || f[0].Kind != problem.BadCertificate || f[0].Host != "shop.test" || !strings.Contains(f[0].Text, test.want) {
				t.Errorf("got findings %+v, want one with %q", f, test.want)
			}
			if len(k.credentials[0]) != 0 {
				t.Error("it is rendered")
			}
		})
	}
}

func TestACertificateThatClientsRefuseIsServedAndSaid(t *testing.T) {
	authority := fixture.NewAuthority(t)
	for name, test := range map[string]struct {
		host string
		kind problem.Kind
		want string
		from time.Time
	}{
		"another name": {"other.test", problem.CertName, `"shop.test", "*.shop.test" and not for other.test`, time.Time{}},
		"a wildcard":   {"*.other.test", problem.CertName, "not for *.other.test", time.Time{}},
		"not yet":      {"shop.test", problem.CertExpired, "not valid before 2000-02-01", time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			chain, key := authority.Issue(t, []string{"shop.test", "*.shop.test"}, goodIn2000, func(c *x509.Certificate) {
				if !test.from.IsZero() {
					c.NotBefore = test.from
				}
			})
			k := offered(t, safe{"c": chain, "k": key}, 0, secured(test.host, "c", "k"))
			f := k.results[0].Findings
			if len(f) != 1 || f[0].Kind != test.kind || !strings.Contains(f[0].Text, test.want) {
				t.Errorf("got %+v", f)
			}
			if len(k.credentials[0]) != 1 {
				t.Error("it is not rendered")
			}
		})
	}
	chain, key := authority.Issue(t, []string{"shop.test", "*.shop.test"}, goodIn2000)
	if f := offered(t, safe{"c": chain, "k": key}, 0, secured("*.shop.test", "c", "k")).results[0].Findings; len(f) > 0 {
		t.Errorf("a wildcard that fits: %+v", f)
	}
}

func TestACertificateThatExpiresIsSaidWithinAnHour(t *testing.T) {
	chain, key := fixture.NewAuthority(t).Issue(t, []string{"shop.test"}, goodIn2000, func(c *x509.Certificate) {
		c.NotAfter = time.Date(2000, 1, 1, 2, 30, 0, 0, time.UTC)
	})
	k := offered(t, safe{"c": chain, "k": key}, 24*time.Hour, secured("shop.test", "c", "k"))
	if len(k.results) != 2 || len(k.credentials) != 1 {
		t.Fatalf("answered %d times, rendered %d times", len(k.results), len(k.credentials))
	}
	f := k.results[1].Findings
	if len(k.results[0].Findings) != 0 || len(f) != 1 || f[0].Kind != problem.CertExpired || !strings.Contains(f[0].Text, "expired on 2000-01-01 02:30") {
		t.Errorf("got %+v", f)
	}
}

// shortRSA is of openssl req -x509 -newkey rsa:1024.
const shortRSA = `-----BEGIN CERTIFICATE-----
MIIB/jCCAWegAwIBAgIURKhJf4S0dTSRIfHLKooQKO3ZO9kwDQYJKoZIhvcNAQEL
BQAwEDEOMAwGA1UEAwwFc2hvcnQwIBcNMjYxMTIzMTkwNjUzWhgPMjEyNjEwMzAx
OTA2NTNaMBAxDjAMBgNVBAMMBXNob3J0MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB
iQKBgQDytnjGyRBRBeTTMgTDj2J8gxGfg00801xumHUgAgHCnbGfIuP72llfjNvi
YWBwav7Nt6KwUi0dknd1qOiBNQiPN9sPafgu6Y6tOM3Z7q6OhpQAtX12b8/cVHkh
Nb02JMwGcsK3JsNsSjLSg0FVYhCFeN3tfBFJfeVBLVpNQqkevwIDAQABo1MwUTAd
BgNVHQ4EFgQUuyhshuy/1rEjRgARi4NOnpoU7mwwHwYDVR0jBBgwFoAUuyhshuy/
1rEjRgARi4NOnpoU7mwwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOB
gQDlGzs3X/D2QpFKw+EMDaDFDqlCuBWIcV0V9XHRvkcOehnIgeWp/fHe6HQh0L4L
OwlV+lh1D0xHHWPbTlcGMrojqPor5Ct3IiuhGnx+Z1WcTgOhl39dTT4kjdYYLXG+
lHSeXl4e347aBU4enlfV4D+aZ7fTtsUsGyI/OQxMP6Mwcw==
-----END CERTIFICATE-----
`
