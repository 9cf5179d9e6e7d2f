package docker

import (
	"fmt"
	"regexp"
	"strings"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/interlock-lb/interlock/internal/plan"
)

// wrappings are what the engine and its client put before the words that
// matter.
var wrappings = regexp.MustCompile(`Error response from daemon: |rpc error: code = \w+ desc = `)

func inPlainWords(words string) string {
	return strings.Join(strings.Fields(wrappings.ReplaceAllString(words, "")), " ")
}

// refusal is an error of the engine in plain words, with the engine's own
// error behind it.
type refusal struct{ cause error }

func (r refusal) Error() string { return inPlainWords(r.cause.Error()) }
func (r refusal) Unwrap() error { return r.cause }

// failed wraps the engine's err with what was being done. It is nil for nil.
func failed(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case isConflict(err):
		return fmt.Errorf("%s: %w: %w", doing, plan.ErrOutdated, refusal{err})
	default:
		return fmt.Errorf("%s: %w", doing, refusal{err})
	}
}

// ifGone makes plan.ErrOutdated of a call's failure to find the one object that
// it names. A call that names others too, as a specification does, may as well
// miss one of those, which no new plan would help.
func ifGone(err error) error {
	if cerrdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %w", plan.ErrOutdated, err)
	}
	return err
}

// isConflict knows Swarm's failed version check by its words, for the API
// gives it the same status as any other internal error.
func isConflict(err error) bool {
	return cerrdefs.IsConflict(err) || cerrdefs.IsAlreadyExists(err) ||
		strings.Contains(err.Error(), "update out of sequence")
}
