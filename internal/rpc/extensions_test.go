package rpc_test

import (
	"context"
	"testing"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// follow connects an extension task that hands back what the test says, and
// returns once it has got a table.
func follow(t *testing.T, endpoint string, a authority) (core *rpc.CoreClient, leave func()) {
	t.Helper()
	core, err := rpc.DialCore(endpoint, a.identity(eastExt))
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan render.Publication, 100)
	stop := background(t, func(ctx context.Context) error {
		_ = core.Watch(ctx, func(p render.Publication) { got <- p }) // it ends with ctx
		return nil
	})
	receive(t, got, "a table")
	return core, func() {
		stop()
		_ = core.Close()
	}
}

func TestTheTaskOfAnExtensionThatCameLastIsListenedTo(t *testing.T) {
	authority, tables := newAuthority(t), newFakeTables()
	endpoint, _ := serveTables(t, tables, authority, "127.0.0.1:0", silent())
	tables.publish("us-east", 1, "a.example.com")
	put := func(core *rpc.CoreClient, token string) {
		t.Helper()
		b := bundleOf(token).Bundle
		if err := core.PutBundle(t.Context(), 1, "table", render.Result{Bundle: b}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(content string) {
		t.Helper()
		if got := receive(t, tables.answers, "what "+content+" hands back"); string(got.bundle.Files[0].Data()) != content {
			t.Errorf("%s is listened to, not %s", got.bundle.Files[0].Data(), content)
		}
	}
	before, leave := follow(t, endpoint, authority)
	defer leave()
	put(before, "before")
	expect("before")
	after, leaveAfter := follow(t, endpoint, authority)
	put(before, "before, while the one after it has said nothing")
	expect("before, while the one after it has said nothing")
	put(after, "after")
	expect("after")
	put(before, "before, too late")
	if err := before.PutFailure(t.Context(), 1, "table", "too late"); err != nil {
		t.Fatal(err)
	}
	put(after, "after, again")
	expect("after, again")

	leaveAfter()
	eventually(t, "the task before is listened to again", func() bool {
		put(before, "before, alone")
		return len(tables.answers) > 0
	})
	expect("before, alone")
}
