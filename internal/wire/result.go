package wire

import (
	"errors"
	"fmt"
	"strings"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
	"github.com/interlock-lb/interlock/internal/problem"
	"github.com/interlock-lb/interlock/internal/render"
)

// ResultMessage is what rendering gave as it travels, without the table's
// generation and version. It has the change in place of the bundle if there is one.
func ResultMessage(r *render.Result, change *interlockv1.BundleChange) *interlockv1.PutBundleRequest {
	message := &interlockv1.PutBundleRequest{Missing: r.Missing}
	if change != nil {
		message.Result = &interlockv1.PutBundleRequest_Change{Change: change}
	} else {
		message.Result = &interlockv1.PutBundleRequest_Bundle{Bundle: BundleMessage(&r.Bundle)}
	}
	for _, f := range r.Findings {
		message.Findings = append(message.Findings, &interlockv1.Finding{Host: f.Host, Kind: string(f.Kind), Text: Reason(f.Text)})
	}
	return message
}

// Result reads what rendering gave. It fails, saying what is wrong, unless the
// message has a bundle that Bundle takes, or a change of the one before that
// ChangedBundle takes, and all that render.Result promises. Before is not looked at
// unless there is a change.
func Result(message *interlockv1.PutBundleRequest, before *render.Bundle) (render.Result, error) {
	bundle, err := anyBundle(message, before)
	if err != nil {
		return render.Result{}, fmt.Errorf("the bundle: %w", err)
	}
	r := render.Result{Bundle: bundle, Missing: message.GetMissing()}
	for _, m := range message.GetFindings() {
		f, err := readFinding(m)
		if err != nil {
			return render.Result{}, fmt.Errorf("finding about %.80q: %w", m.GetHost(), err)
		}
		r.Findings = append(r.Findings, f)
	}
	r.Findings = render.SortFindings(r.Findings)
	for _, name := range r.Missing {
		if !isMaterialName(name) {
			return render.Result{}, fmt.Errorf("%.80q, which is said to be missing, is not the name of a material", name)
		}
	}
	return r, ascending("missing material", r.Missing, identity)
}

// anyBundle reads the bundle of a message that has either all of it or a change.
func anyBundle(message *interlockv1.PutBundleRequest, before *render.Bundle) (render.Bundle, error) {
	if change := message.GetChange(); change != nil {
		return ChangedBundle(before, change)
	}
	return Bundle(message.GetBundle())
}

func readFinding(message *interlockv1.Finding) (render.Finding, error) {
	f := render.Finding{Host: message.GetHost(), Kind: problem.Kind(message.GetKind()), Text: Reason(message.GetText())}
	switch {
	case f.Host == "":
		return f, errors.New("it names no host")
	case f.Kind == "" || len(f.Kind) > 64 || strings.Trim(string(f.Kind), "abcdefghijklmnopqrstuvwxyz-") != "":
		return f, fmt.Errorf("its kind %.80q is not a word of letters and hyphens", string(f.Kind))
	case f.Text == "":
		return f, errors.New("it has no text")
	}
	return f, nil
}
