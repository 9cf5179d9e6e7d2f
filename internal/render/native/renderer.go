// Package native renders a routing table for the native proxy: the table itself,
// with what the operator configured, in one file, and beside it the keys.
//
// It is pure, and serves nothing: the file is read again by Read, in the proxy.
package native

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
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

// Renderer makes bundles for the native proxy.
type Renderer struct {
	// File and KeyDir are the constants File and render.SensitiveDir where empty.
	File, KeyDir string
}

// Render makes the bundle for a table. Hosts of which c has no pair are the
// caller's to tell of. The error says which option cannot be used.
func (r *Renderer) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
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
	message := &interlockv1.NativeConfiguration{Table: wire.TableMessage(t), Parameters: parameters}
	keys := make(map[string]render.File)
	for i := range t.Hosts {
		host := t.Hosts[i].Name
		pair, there := c[host]
		if t.Hosts[i].Credential == nil || !there {
			continue
		}
		file := keyFile(withDefault(r.KeyDir, render.SensitiveDir), pair)
		keys[file.Path] = file
		message.Certificates = append(message.Certificates, &interlockv1.CertificateFile{Host: host, Path: file.Path})
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return render.Bundle{}, fmt.Errorf("writing the table down: %w", err)
	}
	token := sha256.Sum256(data)
	b := render.Bundle{Files: slices.Collect(maps.Values(keys)), Token: hex.EncodeToString(token[:16])}
	b.Files = append(b.Files, render.File{Path: withDefault(r.File, File), Mode: 0o644, Content: render.NewContent(data)})
	b.Sort()
	return b, nil
}

// keyFile is named by its content, so that none ever changes.
func keyFile(dir string, p render.Pair) render.File {
	data := slices.Concat(p.Chain, p.Key)
	sum := sha256.Sum256(data)
	return render.File{Path: path.Join(dir, hex.EncodeToString(sum[:16])+".pem"), Mode: 0o600, Content: render.NewContent(data), Sensitive: true}
}

// Configuration is what the file says.
type Configuration struct {
	Table   *route.Table
	Options Options
	// Keys are the files with a host's certificate and key, by the host's name.
	Keys  map[string]string
	Token string
}

// Read reads what Render has written.
func Read(data []byte) (*Configuration, error) {
	message := &interlockv1.NativeConfiguration{}
	if err := proto.Unmarshal(data, message); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	table, err := wire.Table(message.GetTable())
	if err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	parameters, err := wire.Parameters(message.GetParameters())
	if err != nil {
		return nil, fmt.Errorf("reading the parameters: %w", err)
	}
	options, err := ParseOptions(parameters)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	c := &Configuration{Table: table, Options: options, Keys: make(map[string]string), Token: hex.EncodeToString(sum[:16])}
	for _, m := range message.GetCertificates() {
		if !path.IsAbs(m.GetPath()) || path.Clean(m.GetPath()) != m.GetPath() || strings.ContainsRune(m.GetPath(), 0) {
			return nil, fmt.Errorf("host %.80q: the path of its key must be absolute and without detours", m.GetHost())
		}
		c.Keys[m.GetHost()] = m.GetPath()
	}
	return c, nil
}

func withDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
