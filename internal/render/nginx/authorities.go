package nginx

import (
	"errors"
	"path"

	"github.com/interlock-lb/interlock/internal/render"
)

// maxIssuers is how many issuers may stand between the certificate of a task and
// an authority. nginx's own default of 1 would leave out all that an intermediate
// authority has issued.
const maxIssuers = 10

// authorities reads the operator's, who are checked here: nginx refuses the whole
// file with one that cannot be read.
func authorities(o *Options, v any) error {
	text, ok := v.(string)
	if !ok {
		return wrongType(v, "certificates in PEM")
	}
	list, err := render.ReadAuthorities([]byte(text))
	if err == nil && len(list) == 0 {
		err = errors.New("has no certificate in PEM")
	}
	o.SSLBackendAuthorities = text
	return err
}

// authoritiesFile stands beside the main file. Its name is the hash of its
// content, so that a file that running workers were started from never changes.
func (o *Options) authoritiesFile(configPath string) render.File {
	content := render.NewContent([]byte(o.SSLBackendAuthorities))
	return render.File{Path: path.Join(path.Dir(configPath), "authorities-"+shortHash(content)+".pem"), Mode: 0o644, Content: content}
}
