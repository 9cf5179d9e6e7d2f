package nginx_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/coder/websocket"

	"github.com/interlock-lb/interlock/internal/agent"
	agentnginx "github.com/interlock-lb/interlock/internal/agent/nginx"
	"github.com/interlock-lb/interlock/internal/fixture"
	"github.com/interlock-lb/interlock/internal/route"
)

// open returns a websocket on which every word is repeated.
func (r *rig) open(ctx context.Context) *websocket.Conn {
	r.t.Helper()
	conn, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://127.0.0.1:%d/ws", r.port), &websocket.DialOptions{Host: "demo.local"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func repeats(ctx context.Context, conn *websocket.Conn) error {
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return err
	}
	_, _, err := conn.Read(ctx)
	return err
}

// chat is a table in which every websocket goes to an app, beside a host that
// makes it another table.
func chat(more string, app route.Upstream) *route.Table {
	table := demo([]route.Route{{PathPrefix: "/", Websockets: []string{"/ws"}, Forward: to("app")}}, app)
	table.Hosts = append(table.Hosts, route.VirtualHost{Name: more, Routes: []route.Route{{PathPrefix: "/", Forward: to("app")}}})
	return table
}

func TestWebsocketsStayOpenAcrossReloadsUntilThereAreTooManyOldWorkers(t *testing.T) {
	r := newRig(t, func(o *agent.Options) {
		proxy, err := agentnginx.New(agentnginx.Options{
			Binary: fixture.Program(t, "nginx"), ConfigPath: o.Folders[0] + "/nginx.conf", StatusSocket: o.StateDir + "/../run/status.sock",
			TempDir: o.StateDir + "/nginx", Logger: o.Logger, MaxGenerations: 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Proxy = proxy
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var upgrades []string
	app := upstream("app", echo(t, &upgrades))
	serve := func(i int) {
		r.serve(chat(fmt.Sprintf("more-%d.local", i), app), map[string]any{"WorkerProcesses": "1"})
	}
	serve(0)
	var conns []*websocket.Conn
	for i := range 3 {
		conns = append(conns, r.open(ctx))
		for _, conn := range conns {
			if err := repeats(ctx, conn); err != nil {
				t.Errorf("after %d reloads a websocket is closed: %v", i, err)
			}
		}
		if i < 2 {
			serve(i + 1)
		}
	}
	serve(3)
	if _, _, err := conns[0].Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the websocket of the oldest workers is still open: %v", err)
	}
	for _, conn := range conns[1:] {
		if err := repeats(ctx, conn); err != nil {
			t.Errorf("a websocket of younger workers is closed: %v", err)
		}
	}
}

func TestWhatRunsOnATaskThatIsTakenOutGoesOn(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var upgrades, others []string
	old, next := echo(t, &upgrades), echo(t, &others)
	r.serve(chat("more.local", upstream("app", old)), nil)
	conn := r.open(ctx)
	if err := repeats(ctx, conn); err != nil {
		t.Fatal(err)
	}
	r.serve(chat("more.local", upstream("app", next)), nil)
	if err := repeats(ctx, conn); err != nil {
		t.Errorf("the open websocket was cut off: %v", err)
	}
	if err := repeats(ctx, r.open(ctx)); err != nil || len(others) != 1 || len(upgrades) != 1 {
		t.Errorf("a new websocket does not go to the task that is left: %v; %v, %v", err, upgrades, others)
	}
}
