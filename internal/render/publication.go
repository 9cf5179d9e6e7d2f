package render

import "github.com/interlock-lb/interlock/internal/route"

// Publication is what an extension gets to render.
type Publication struct {
	// Generation grows with every publication of one core.
	Generation uint64
	// Version is the table's.
	Version string
	// Table is nil as long as there is none; whoever receives it must not change it.
	Table      *route.Table
	Parameters Parameters
}
