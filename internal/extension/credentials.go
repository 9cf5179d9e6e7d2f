package extension

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// Materials holds the secret contents that tables name.
type Materials interface {
	// Read returns a content; the error is fs.ErrNotExist if it is not there.
	// What is there once never changes.
	Read(name string) ([]byte, error)
}

// Wallet finds the certificates of a table's hosts. It keeps the last good one
// of each host: while the secrets of this extension are exchanged, tables name
// some that only the next task of its service will have. It is not for
// concurrent use.
type Wallet struct {
	materials Materials
	log       *slog.Logger

	read map[pairOf]*outcome
	good map[string]*render.Certificate // by host
}

type pairOf struct{ chain, key route.Material }

// outcome is what reading a pair gave.
type outcome struct {
	certificate *render.Certificate
	err         error
}

// NewWallet returns one that has read nothing yet.
func NewWallet(m Materials, log *slog.Logger) *Wallet {
	return &Wallet{materials: m, log: log, read: make(map[pairOf]*outcome), good: make(map[string]*render.Certificate)}
}

// Holdings are the credentials for a table, and what is to be said of them.
type Holdings struct {
	Credentials render.Credentials
	Findings    []render.Finding // sorted
	Missing     []string         // sorted
}

// Open returns what is at hand for a table.
func (w *Wallet) Open(t *route.Table, now time.Time) Holdings {
	h := Holdings{Credentials: make(render.Credentials)}
	missing, read, good := make(map[string]bool), make(map[pairOf]*outcome), make(map[string]*render.Certificate)
	for i := range t.Hosts {
		host, c := t.Hosts[i].Name, t.Hosts[i].Credential
		if c == nil {
			continue
		}
		o := w.pair(pairOf{c.Chain, c.Key}, missing)
		switch {
		case o == nil:
			// Nothing was said of it when it was good, so nothing is now.
			good[host] = w.good[host]
		case o.err != nil:
			read[pairOf{c.Chain, c.Key}] = o
			h.Findings = append(h.Findings, render.Finding{Host: host, Kind: problem.BadCertificate, Text: unusable(c, o.err)})
		default:
			read[pairOf{c.Chain, c.Key}], good[host] = o, o.certificate
			h.Findings = append(h.Findings, o.certificate.Findings(host, c.Chain.Name, now)...)
		}
		if good[host] != nil {
			h.Credentials[host] = good[host].Pair()
		}
	}
	w.read, w.good = read, good
	h.Findings, h.Missing = render.SortFindings(h.Findings), slices.Sorted(maps.Keys(missing))
	return h
}

func unusable(c *route.Credential, err error) string {
	where := "the secret " + c.Chain.Name
	if c.Key != c.Chain {
		where = fmt.Sprintf("the secrets %s and %s", c.Chain.Name, c.Key.Name)
	}
	return fmt.Sprintf("%s cannot be used: %v; the host is not served over TLS", where, err)
}

// pair returns nil if a part of it is not there.
func (w *Wallet) pair(p pairOf, missing map[string]bool) *outcome {
	if o := w.read[p]; o != nil {
		return o
	}
	contents := make([][]byte, 2)
	complete := true
	for i, m := range []route.Material{p.chain, p.key} {
		content, err := w.materials.Read(m.Name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				w.log.Warn("a secret cannot be read", "secret", m.Name, "error", err)
			}
			missing[m.Name], complete = true, false
		}
		contents[i] = content
	}
	if !complete {
		return nil
	}
	certificate, err := render.ReadCertificate(render.Pair{Chain: contents[0], Key: contents[1]})
	return &outcome{certificate, err}
}
