package native_test

import (
	"testing"
	"time"

	"github.com/interlock-lb/interlock/internal/agent/native"
	"github.com/interlock-lb/interlock/internal/render"
	rendernative "github.com/interlock-lb/interlock/internal/render/native"
)

// nginx waits for 5 s without a word of the operator; here somebody else is asked
// sooner.
func TestATaskHasASecondToTakeAConnectionUnlessTheOperatorSaysOtherwise(t *testing.T) {
	for want, config := range map[time.Duration]map[string]any{
		time.Second:     nil,
		5 * time.Second: {"ConnectTimeout": 5.0},
	} {
		options, err := rendernative.ParseOptions(render.Parameters{Config: config})
		if err != nil {
			t.Fatal(err)
		}
		if got := native.Serving(&options).Limits.Connect; got != want {
			t.Errorf("%v: %s, want %s", config, got, want)
		}
	}
}
