package extension

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/interlock-lb/interlock/internal/render"
)

// cachingRenderer remembers the last outcome, so that a core that comes back and
// asks for the same table has its bundle at once. It is not for concurrent use.
type cachingRenderer struct {
	renderer Renderer
	wallet   *Wallet
	log      *slog.Logger

	version     string // of the table that was rendered; empty: none yet
	parameters  render.Parameters
	credentials render.Credentials
	bundle      render.Bundle
	err         error
}

func (c *cachingRenderer) render(p render.Publication) (render.Result, error) {
	held := c.wallet.Open(p.Table, time.Now())
	if c.version == "" || c.version != p.Version || !reflect.DeepEqual(c.parameters, p.Parameters) || !reflect.DeepEqual(c.credentials, held.Credentials) {
		c.bundle, c.err = c.renderSafely(p, held.Credentials)
		c.version, c.parameters, c.credentials = p.Version, p.Parameters, held.Credentials
	}
	return render.Result{Bundle: c.bundle, Findings: held.Findings, Missing: held.Missing}, c.err
}

// renderSafely turns a panic into an error. A renderer builds on nothing that was
// left half done between two calls; a process that died instead would meet the same table when it comes back, and die again, and nobody would
// learn which table it was.
func (c *cachingRenderer) renderSafely(p render.Publication, credentials render.Credentials) (b render.Bundle, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.log.Error("the renderer panicked", "table", p.Version, "panic", fault, "stack", string(debug.Stack()))
			b, err = render.Bundle{}, fmt.Errorf("the renderer panicked: %v (the extension's log has the place)", fault)
		}
	}()
	return c.renderer.Render(p.Table, p.Parameters, credentials)
}
