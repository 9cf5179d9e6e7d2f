package pki_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
)

func storageKey(t *testing.T, i *pki.Identity, purpose string) []byte {
	t.Helper()
	key, err := i.StorageKey(purpose)
	if err != nil {
		t.Fatal(err)
	}
	if len(key) != pki.StorageKeySize {
		t.Fatalf("the key has %d bytes, want %d", len(key), pki.StorageKeySize)
	}
	return key
}

func TestAStorageKeyOutlivesRenewalsAndProcesses(t *testing.T) {
	authority := newAuthority(t)
	secret, err := authority.Issue(eastProxy, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var identities []*pki.Identity
	for range 2 {
		identity, err := pki.NewIdentity(secret)
		if err != nil {
			t.Fatal(err)
		}
		identities = append(identities, identity)
	}
	before := storageKey(t, identities[0], "bundles")
	request, err := identities[0].RequestRenewal()
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := authority.Sign(request, eastProxy, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := identities[0].CompleteRenewal(renewed); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(storageKey(t, identities[0], "bundles"), before) {
		t.Error("a renewal changed the storage key")
	}
	if !bytes.Equal(storageKey(t, identities[1], "bundles"), before) {
		t.Error("the same secret gave another process another storage key")
	}
}

func TestStorageKeysDifferByIdentityAndPurpose(t *testing.T) {
	authority := newAuthority(t)
	one, two := issue(t, authority, eastProxy, time.Hour), issue(t, authority, eastProxy, time.Hour)
	if bytes.Equal(storageKey(t, one, "bundles"), storageKey(t, two, "bundles")) {
		t.Error("two identities of one name have the same storage key")
	}
	if bytes.Equal(storageKey(t, one, "bundles"), storageKey(t, one, "else")) {
		t.Error("two purposes have the same storage key")
	}
}
