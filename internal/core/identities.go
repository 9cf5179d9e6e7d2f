package core

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/plan"
	"github.com/interlock-lb/interlock/internal/settings"
	"github.com/interlock-lb/interlock/internal/snapshot"
)

// Labels on identity secrets, beside plan.LabelExtension and plan.LabelRole.
const (
	labelAuthority = "com.docker.interlock.authority" // fingerprint of the issuer
	labelExpires   = "com.docker.interlock.expires"   // Unix time, in seconds
)

// identity returns the secret that a service should get. While the one that
// the service has is valid it stays, because Swarm replaces tasks to change a
// secret. found is false when a new one had to be made: it is in the next
// reading of Swarm.
func (r *reconciler) identity(ctx context.Context, snap *snapshot.Snapshot, k plan.Keeper, e settings.Extension, role plan.Role, now time.Time) (secret snapshot.Object, found bool, err error) {
	var newest *snapshot.Object
	var newestExpiry time.Time
	attached := attachedSecrets(k.Find(snap, e.Name, role))
	for i := range snap.Secrets {
		o := &snap.Secrets[i]
		expires, ours := r.valid(o, e, role, now)
		if !ours {
			continue
		}
		if attached[o.ID] {
			return *o, true, nil
		}
		if newest == nil || expires.After(newestExpiry) {
			newest, newestExpiry = o, expires
		}
	}
	if newest != nil {
		return *newest, true, nil
	}
	return snapshot.Object{}, false, r.issue(ctx, snap, e, role, now)
}

func attachedSecrets(s *snapshot.Service) map[string]bool {
	attached := make(map[string]bool)
	if s != nil {
		for _, ref := range s.Spec.Secrets {
			attached[ref.ID] = true
		}
	}
	return attached
}

// valid reports whether a secret holds an identity for the given service that
// the present authority has issued and that has not expired.
func (r *reconciler) valid(o *snapshot.Object, e settings.Extension, role plan.Role, now time.Time) (expires time.Time, ok bool) {
	if o.Labels[plan.LabelExtension] != e.Name || o.Labels[plan.LabelRole] != identityRole(role) ||
		o.Labels[labelAuthority] != r.issuer.Fingerprint() || o.Labels[labelCluster] != e.ServiceCluster ||
		o.Labels[plan.LabelSeal] != r.issuer.Seal(o.Name) {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(o.Labels[labelExpires], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	expires = time.Unix(seconds, 0)
	return expires, expires.After(now)
}

// labelCluster names the cluster in the identity: an extension that is moved
// to another cluster needs another one.
const labelCluster = "com.docker.interlock.cluster"

func identityRole(role plan.Role) string { return string(role) + "-identity" }

// identitySecretName holds the day, so that two cores, or one that acts on an
// old reading, do not make two. Docker allows 64 characters, which the names
// of extensions and clusters may exceed: their hash stands for them.
func identitySecretName(e settings.Extension, role plan.Role, authority string, now time.Time) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Name, e.ServiceCluster, authority}, "\x00")))
	return fmt.Sprintf("interlock-%s-%x-%s", role, sum[:6], now.UTC().Format("20060102"))
}

// freeName evades secrets that have the name and are not ours, as anybody may
// make them. What it makes of the name follows from the secret in the way, so
// that two cores still agree.
func freeName(snap *snapshot.Snapshot, name string) string {
	free := name
	for i := 0; i < len(snap.Secrets); i++ {
		if snap.Secrets[i].Name == free {
			sum := sha256.Sum256([]byte(free + snap.Secrets[i].ID))
			free = fmt.Sprintf("%s-%x", name, sum[:4])
			i = -1
		}
	}
	return free
}

func (r *reconciler) issue(ctx context.Context, snap *snapshot.Snapshot, e settings.Extension, role plan.Role, now time.Time) error {
	identity, err := r.issuer.Issue(identityName(e, role), now, pki.SecretLifetime)
	if err != nil {
		return fmt.Errorf("issuing an identity for the %s of extension %s: %w", role, e.Name, err)
	}
	name := freeName(snap, identitySecretName(e, role, r.issuer.Fingerprint(), now))
	_, err = r.applier.CreateSecret(ctx, name, map[string]string{
		plan.LabelExtension: e.Name,
		plan.LabelRole:      identityRole(role),
		plan.LabelSeal:      r.issuer.Seal(name),
		labelAuthority:      r.issuer.Fingerprint(),
		labelCluster:        e.ServiceCluster,
		labelExpires:        strconv.FormatInt(now.Add(pki.SecretLifetime).Unix(), 10),
	}, identity)
	if err != nil && !errors.Is(err, plan.ErrOutdated) {
		return fmt.Errorf("storing the identity of the %s of extension %s as secret %s: %w", role, e.Name, name, err)
	}
	return nil
}
