// Package native renders a routing table for the native proxy: the table itself,
// with what the operator configured, in one file or, where it is large, in parts,
// and beside it the keys.
//
// It is pure, and serves nothing: the files are read again by Reader, in the proxy.
package native

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
	"github.com/interlock-lb/interlock/internal/wire"
)

// File is where the configuration stands in the proxy's container, whatever
// ProxyConfigPath says, which is for others: in memory, as the agent keeps the
// last good bundle elsewhere.
const File = "/run/interlock/native/table.pb"

// partPath is where a part of the configuration in file stands. It is named by its
// content, so that none ever changes and all take effect with the file.
func partPath(file string, h render.Hash) string {
	return path.Join(path.Dir(file), "parts", hex.EncodeToString(h[:16])+".pb")
}

// Renderer makes bundles for the native proxy.
type Renderer struct {
	// File and KeyDir are the constants File and render.SensitiveDir where empty.
	File, KeyDir string
	// Split says which tables are divided.
	Split render.Split
}

// Render makes the bundle for a table. Hosts of which c has no pair are the
// caller's to tell of. The error says which option cannot be used.
func (r *Renderer) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	return (&Memory{Renderer: *r}).Render(t, p, c)
}

// Memory makes one bundle after the other as its Renderer does, at the cost of
// what has changed: it keeps the parts of the last one. It is not for concurrent
// use.
type Memory struct {
	Renderer Renderer

	last *division // nil: none is remembered
}

// Render is [Renderer.Render]. Neither table nor credentials may be changed
// afterwards: the next ones are compared with them.
func (m *Memory) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	if p.Agentless {
		return render.Bundle{}, errors.New("the native proxy gets its table from Interlock's agent, which is in its image: take HitlessServiceUpdate = false out, and name that image")
	}
	if p.Port == 0 {
		return render.Bundle{}, errors.New("no TargetPort for the proxy to listen on")
	}
	if _, err := ParseOptions(p); err != nil {
		return render.Bundle{}, err
	}
	parameters, err := wire.ParametersMessage(p)
	if err != nil {
		return render.Bundle{}, err
	}
	message := &interlockv1.NativeConfiguration{Parameters: parameters}
	var files, keys []render.File
	if parts := m.Renderer.Split.Parts(t); parts == 0 {
		m.last = nil
		message.Table = wire.TableMessage(t)
		message.Certificates, keys = m.Renderer.certificates(t.Hosts, c)
	} else {
		d, err := m.divide(t, c, parts)
		if err != nil {
			return render.Bundle{}, err
		}
		message.Parts, files, keys = d.message(), d.files(), d.keys
	}
	main, err := m.Renderer.file(withDefault(m.Renderer.File, File), message)
	if err != nil {
		return render.Bundle{}, err
	}
	hash := main.Hash()
	b := render.Bundle{Files: slices.Concat(files, []render.File{main}, keys), Token: hex.EncodeToString(hash[:16])}
	b.Sort()
	return b, nil
}

func (r *Renderer) file(path string, message proto.Message) (render.File, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return render.File{}, fmt.Errorf("writing the table down: %w", err)
	}
	return render.File{Path: path, Mode: 0o644, Content: render.NewContent(data)}, nil
}

// certificates are those of hosts, and the files with them, sorted.
func (r *Renderer) certificates(hosts []route.VirtualHost, c render.Credentials) ([]*interlockv1.CertificateFile, []render.File) {
	var messages []*interlockv1.CertificateFile
	var files []render.File
	for i := range hosts {
		host := hosts[i].Name
		pair, there := c[host]
		if hosts[i].Credential == nil || !there {
			continue
		}
		file := keyFile(withDefault(r.KeyDir, render.SensitiveDir), pair)
		files = append(files, file)
		messages = append(messages, &interlockv1.CertificateFile{Host: host, Path: file.Path})
	}
	return messages, distinct(files)
}

// distinct sorts files that are named by their content, and drops repetitions.
func distinct(files []render.File) []render.File {
	slices.SortFunc(files, byPath)
	return slices.CompactFunc(files, func(a, b render.File) bool { return a.Path == b.Path })
}

func byPath(a, b render.File) int { return strings.Compare(a.Path, b.Path) }

// keyFile is named by its content, so that none ever changes.
func keyFile(dir string, p render.Pair) render.File {
	content := render.NewContent(slices.Concat(p.Chain, p.Key))
	hash := content.Hash()
	return render.File{Path: path.Join(dir, hex.EncodeToString(hash[:16])+".pem"), Mode: 0o600, Content: content, Sensitive: true}
}

func withDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
