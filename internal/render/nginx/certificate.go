package nginx

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path"
	"slices"

	"github.com/interlock-lb/interlock/internal/render"
	"github.com/interlock-lb/interlock/internal/route"
)

// certificate is a chain and its key as nginx finds them.
type certificate struct {
	chain, key string // paths
	// id is the same for those that prove the same names.
	id string
	// file has both; it has no path where the proxies have them.
	file render.File
}

// Keyring has the certificates of a table's hosts, and the files that they are in.
type Keyring struct {
	credentials render.Credentials
	dir         string // of the files
	mounted     bool   // the proxies have them
	files       map[string]render.File
}

// Keyring has what of the credentials a table's hosts name. Those that the
// proxies have mounted need no files.
func (r *Renderer) Keyring(p render.Parameters, c render.Credentials) *Keyring {
	return &Keyring{credentials: c, dir: withDefault(r.KeyDir, render.SensitiveDir), mounted: p.MountedCredentials, files: make(map[string]render.File)}
}

// Paths are where nginx finds the chain and the key of a host. Without content
// for the host there is none: then it is not served over TLS.
func (k *Keyring) Paths(v *route.VirtualHost) (chain, key string, usable bool) {
	c := k.certificate(v)
	if c == nil {
		return "", "", false
	}
	return c.chain, c.key, true
}

// Files are those at the paths that have been asked for, unless proxies have them.
func (k *Keyring) Files() []render.File { return slices.Collect(maps.Values(k.files)) }

// certificate returns nil where there is no content for the host.
func (k *Keyring) certificate(v *route.VirtualHost) *certificate {
	pair, usable := k.credentials[v.Name]
	if v.Credential == nil || !usable {
		return nil
	}
	c := &certificate{}
	if k.mounted {
		c.chain, c.key = path.Join(render.MountedDir, v.Credential.Chain.Name), path.Join(render.MountedDir, v.Credential.Key.Name)
	} else {
		c.file = k.file(pair)
		c.chain, c.key = c.file.Path, c.file.Path
	}
	c.id = contentHash([]byte(c.chain + "\n" + c.key))
	k.keep(c)
	return c
}

// keep has the files of a certificate among those that have been asked for. There
// may be no certificate.
func (k *Keyring) keep(c *certificate) {
	if c != nil && c.file.Path != "" {
		k.files[c.file.Path] = c.file
	}
}

// file puts chain and key into one, which nginx takes for both. Its name is the
// hash of its content: a file that running workers were started from never
// changes, and a renewal changes nginx.conf and so its token.
func (k *Keyring) file(pair render.Pair) render.File {
	data := pair.Chain
	if !bytes.Equal(pair.Chain, pair.Key) {
		data = slices.Concat(pair.Chain, []byte("\n"), pair.Key)
	}
	content := render.NewContent(data)
	return render.File{Path: path.Join(k.dir, shortHash(content)+".pem"), Mode: 0o600, Content: content, Sensitive: true}
}

func contentHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// shortHash is what files are named by that never change.
func shortHash(c render.Content) string {
	hash := c.Hash()
	return hex.EncodeToString(hash[:16])
}
