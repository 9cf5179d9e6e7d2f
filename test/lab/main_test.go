package lab

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// roleVariable makes the test binary play the owner of a lab instead of testing,
// so that a test can kill it.
const roleVariable = "LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := playOwner(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// playOwner brings up a lab, prints its ID, and if the lab is not a detached one
// waits to be killed.
func playOwner(role string) error {
	detached := role == "detached"
	l, err := Up(context.Background(), Options{Managers: 1, Workers: 0, Detached: detached})
	if err != nil {
		return err
	}
	fmt.Println(l.ID())
	if !detached {
		time.Sleep(time.Minute)
	}
	return nil
}
