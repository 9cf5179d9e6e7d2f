package nginx

import (
	"embed"
	"fmt"
	"path"

	"github.com/interlock-lb/interlock/internal/render"
)

// dhGroups are the groups of RFC 7919, appendix A, as openssl writes them:
// parameters that everybody knows are safer than ones made on the spot.
//
//go:embed dh/*.pem
var dhGroups embed.FS

// DHFile is the parameters that the operator wants, if not of their own.
func (o *Options) DHFile(configPath string) (group render.File, wanted bool, err error) {
	if o.SSLDefaultDHParam == 0 || o.SSLDefaultDHParamPath != "" {
		return render.File{}, false, nil
	}
	group, err = dhFile(o.SSLDefaultDHParam, configPath)
	return group, true, err
}

// dhFile is the smallest group of at least so many bits, beside the main file;
// groups begin at 2048 bits, and there is none above 8192.
func dhFile(bits int, configPath string) (render.File, error) {
	size := 8192
	for _, s := range []int{2048, 3072, 4096, 6144} {
		if bits <= s {
			size = s
			break
		}
	}
	name := fmt.Sprintf("ffdhe%d.pem", size)
	data, err := dhGroups.ReadFile("dh/" + name)
	if err != nil {
		return render.File{}, fmt.Errorf("the group %s: %w", name, err)
	}
	return render.File{Path: path.Join(path.Dir(configPath), name), Mode: 0o644, Content: render.NewContent(data)}, nil
}
