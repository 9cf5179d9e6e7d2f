package pki_test

import (
	"testing"

	"github.com/interlock-lb/interlock/internal/pki"
)

func TestASealIsTheSameForTheSameWordsAndAuthorityOnly(t *testing.T) {
	authority, other := newAuthority(t), newAuthority(t)
	again, err := pki.ParseAuthority(authority.PEM())
	if err != nil {
		t.Fatal(err)
	}
	seal := authority.Seal("proxy", "default")
	if got := again.Seal("proxy", "default"); got != seal {
		t.Errorf("the stored authority seals %s, the fresh one %s", got, seal)
	}
	for what, got := range map[string]string{
		"other words": authority.Seal("proxy", "other"), "other bounds between words": authority.Seal("prox", "ydefault"),
		"another authority": other.Seal("proxy", "default"),
	} {
		if got == seal {
			t.Errorf("%s give the same seal", what)
		}
	}
}
