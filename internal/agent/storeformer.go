package agent

import (
	"encoding/json"
	"io/fs"

	"github.com/interlock-lb/interlock/internal/render"
)

// formerHeader begins files from before there were journals: JSON, encrypted as a
// whole. They are still read; the next bundle that is saved takes their place.
const formerHeader = storeFamily + "2\n"

type formerBundle struct {
	TableVersion string       `json:"tableVersion"`
	Token        string       `json:"token"`
	Files        []formerFile `json:"files"`
}

type formerFile struct {
	Path      string      `json:"path"`
	Mode      fs.FileMode `json:"mode"`
	Data      []byte      `json:"data"`
	Sensitive bool        `json:"sensitive,omitempty"`
}

func (s *store) decodeFormer(sealed []byte) (*served, error) {
	content, err := s.vault.open(sealed, formerHeader)
	if err != nil {
		return nil, err
	}
	var stored formerBundle
	if err := json.Unmarshal(content, &stored); err != nil {
		return nil, err
	}
	b := render.Bundle{Token: stored.Token}
	for _, f := range stored.Files {
		b.Files = append(b.Files, render.File{Path: f.Path, Mode: f.Mode, Content: render.NewContent(f.Data), Sensitive: f.Sensitive})
	}
	b.Sort()
	return &served{b, b.Version(), stored.TableVersion}, nil
}
