// Package template renders a routing table with a template of the operator's,
// in place of the built-in nginx.conf. The template gets the data that templates
// for Docker's Interlock were written for.
//
// It is pure: the template's text is given to it. It bounds what a template may
// do, and leaves to nginx whether what comes out is a configuration.
package template

import (
	"fmt"
	"path"
	texttemplate "text/template"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/render/nginx"
	"github.com/interlock-lb/interlock/internal/route"
)

// Renderer makes bundles for nginx from a template.
type Renderer struct {
	builtin nginx.Renderer
	parsed  *texttemplate.Template
	fault   error // why there is no template
}

// New takes a template's text. One that cannot be parsed fails every rendering,
// so that the core hears of it. The name stands in what is said of the template;
// of builtin it has the paths and the version.
func New(builtin nginx.Renderer, name, text string) *Renderer {
	r := &Renderer{builtin: builtin}
	r.parsed, r.fault = texttemplate.New(name).Funcs(declared).Parse(text)
	if r.fault == nil {
		bound(r.parsed)
	}
	return r
}

// Render makes the bundle for a table: one file at p.ConfigPath, and those with
// keys that the template is told of. Its error says where the template has
// failed. What is for TLS only is left out where there is no pair of the host's.
func (r *Renderer) Render(t *route.Table, p render.Parameters, c render.Credentials) (render.Bundle, error) {
	if r.fault != nil {
		return render.Bundle{}, fmt.Errorf("the custom template cannot be read: %w", r.fault)
	}
	if !path.IsAbs(p.ConfigPath) || path.Clean(p.ConfigPath) != p.ConfigPath {
		return render.Bundle{}, fmt.Errorf("ProxyConfigPath %.80q is not an absolute path", p.ConfigPath)
	}
	options, err := nginx.ParseOptions(p.Config)
	if err != nil {
		return render.Bundle{}, err
	}
	keys := r.builtin.Keyring(p, c)
	data, err := dataOf(t, &options, p, keys)
	if err != nil {
		return render.Bundle{}, err
	}
	data.Version = r.builtin.ServerInfo
	b := render.Bundle{Files: keys.Files()}
	if group, wanted, err := options.DHFile(p.ConfigPath); err != nil {
		return render.Bundle{}, err
	} else if wanted {
		// As seen from the configuration: it is checked in another folder than it
		// is used in.
		data.ExtensionConfig.SSLDefaultDHParamPath = path.Base(group.Path)
		b.Files = append(b.Files, group)
	}
	foreign := nginx.Foreign{StatusSocket: r.builtin.StatusSocket, TempDir: r.builtin.TempDir, Agentless: p.Agentless}
	if foreign.Text, err = r.execute(data, foreign.StatusServer()); err != nil {
		return render.Bundle{}, fmt.Errorf("the custom template failed: %w", err)
	}
	text, token, err := foreign.Complete(&options)
	if err != nil {
		return render.Bundle{}, fmt.Errorf("what the custom template renders is no configuration of nginx: %w", err)
	}
	b.Files, b.Token = append(b.Files, render.File{Path: p.ConfigPath, Mode: 0o644, Content: render.NewContent(text)}), token
	b.Sort()
	return b, nil
}

func (r *Renderer) execute(data *Data, statusServer string) (string, error) {
	out := &output{limit: leastSteps + stepsForEach*data.items}
	clone, err := r.parsed.Clone()
	if err != nil {
		return "", err
	}
	clone.Funcs(functions(statusServer, out))
	if err := clone.Execute(out, data); err != nil {
		return "", plain(err)
	}
	return out.text.String(), nil
}
