package core

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/plan"
)

// authorityConfig is the Docker config that holds the authority where the
// operator gave none. Only the managers' API gives out a config's content, and
// whoever has that can do all that the authority could, and more.
const authorityConfig = "interlock-authority"

// Vault keeps the authority between the lives of a core.
type Vault interface {
	// ReadConfig fails with plan.ErrOutdated when there is no such config.
	ReadConfig(ctx context.Context, nameOrID string) ([]byte, error)
	// CreateConfig fails with plan.ErrOutdated when the name is taken.
	CreateConfig(ctx context.Context, name string, labels map[string]string, data []byte) (id string, err error)
}

// FindAuthority returns the installation's authority: the one in file, where
// the operator has mounted one; else the one that Swarm keeps; else a new one,
// which is stored first.
func FindAuthority(ctx context.Context, v Vault, file string, now time.Time) (*pki.Authority, error) {
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the authority: %w", err)
		}
		return parseAuthority(content, file)
	}
	stored, err := v.ReadConfig(ctx, authorityConfig)
	if errors.Is(err, plan.ErrOutdated) {
		stored, err = createAuthority(ctx, v, now)
	}
	if err != nil {
		return nil, err
	}
	return parseAuthority(stored, "the Docker config "+authorityConfig)
}

func parseAuthority(content []byte, where string) (*pki.Authority, error) {
	a, err := pki.ParseAuthority(content)
	if err != nil {
		return nil, fmt.Errorf("the authority in %s: %w", where, err)
	}
	return a, nil
}

// createAuthority returns what is stored in the end: another core may have
// been faster.
func createAuthority(ctx context.Context, v Vault, now time.Time) ([]byte, error) {
	fresh, err := pki.NewAuthority(now)
	if err != nil {
		return nil, fmt.Errorf("making an authority: %w", err)
	}
	_, err = v.CreateConfig(ctx, authorityConfig, map[string]string{plan.LabelRole: "authority"}, fresh.PEM())
	if err != nil && !errors.Is(err, plan.ErrOutdated) {
		return nil, fmt.Errorf("storing the authority: %w", err)
	}
	return v.ReadConfig(ctx, authorityConfig)
}
