package wire

import (
	"errors"
	"fmt"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/route"
)

func credentialMessage(c *route.Credential) *interlockv1.Credential {
	if c == nil {
		return nil
	}
	return &interlockv1.Credential{
		Chain: &interlockv1.Material{Name: c.Chain.Name, Id: c.Chain.ID},
		Key:   &interlockv1.Material{Name: c.Key.Name, Id: c.Key.ID},
		Asker: c.Asker,
	}
}

func readCredential(message *interlockv1.Credential) (*route.Credential, error) {
	if message == nil {
		return nil, nil
	}
	c := &route.Credential{
		Chain: route.Material{Name: message.GetChain().GetName(), ID: message.GetChain().GetId()},
		Key:   route.Material{Name: message.GetKey().GetName(), ID: message.GetKey().GetId()},
		Asker: message.GetAsker(),
	}
	for _, m := range []route.Material{c.Chain, c.Key} {
		switch {
		case !isMaterialName(m.Name):
			return nil, fmt.Errorf("%.80q is not the name of a material", m.Name)
		case m.ID == "":
			return nil, fmt.Errorf("the material %s has no ID", m.Name)
		}
	}
	return c, nil
}

// maxMaterialName is in bytes, as label's for the name of a secret.
const maxMaterialName = 128

// isMaterialName takes what Docker takes for the name of a secret. It can be a
// file's name: it has no separator and is not "." or "..".
func isMaterialName(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20
		letterOrDigit := c >= 'a' && c <= 'z' || name[i] >= '0' && name[i] <= '9'
		punctuation := name[i] == '.' || name[i] == '_' || name[i] == '-'
		if !letterOrDigit && (i == 0 || !punctuation) {
			return false
		}
	}
	return name != "" && len(name) <= maxMaterialName
}

// readPassthroughs does not look at the rest of the table where known is nil.
func readPassthroughs(t *route.Table, messages []*interlockv1.Passthrough, known map[string]*route.Upstream) error {
	for _, m := range messages {
		p := route.Passthrough{Name: m.GetName(), RedirectPlain: m.GetRedirectPlain()}
		if err := readPassthrough(&p, m, known); err != nil {
			return fmt.Errorf("passthrough of %q: %w", p.Name, err)
		}
		t.Passthrough = append(t.Passthrough, p)
	}
	if known != nil {
		if err := checkPassthroughs(t, known); err != nil {
			return err
		}
	}
	return ascending("passthrough", t.Passthrough, func(p route.Passthrough) string { return p.Name })
}

func readPassthrough(p *route.Passthrough, message *interlockv1.Passthrough, known map[string]*route.Upstream) (err error) {
	if p.Name == "" {
		return errors.New("it has no name")
	}
	if p.Forward, err = readForward(message.GetForward(), known); err != nil {
		return err
	}
	if p.Forward.Affinity.Cookie != "" {
		return errors.New("no cookie can be read there")
	}
	return nil
}

// checkPassthroughs checks what else a table has of the same hosts and upstreams.
func checkPassthroughs(t *route.Table, known map[string]*route.Upstream) error {
	if len(t.Passthrough) == 0 {
		return nil
	}
	served := make(map[string]bool)
	for i := range t.Hosts {
		served[t.Hosts[i].Name] = t.Hosts[i].Credential != nil
	}
	for i := range t.Passthrough {
		p := &t.Passthrough[i]
		switch {
		case served[p.Name]:
			return fmt.Errorf("passthrough of %q: the host has a credential too", p.Name)
		case known[p.Forward.Upstreams[0]].TLS != nil:
			return fmt.Errorf("passthrough of %q: the upstream %q speaks TLS of its own", p.Name, p.Forward.Upstreams[0])
		case known[p.Forward.Upstreams[0]].HTTP2:
			return fmt.Errorf("passthrough of %q: the upstream %q speaks HTTP/2, which is the client's choice there", p.Name, p.Forward.Upstreams[0])
		}
	}
	return nil
}
