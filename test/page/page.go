// Package page reads the pages of docs/ and runs the commands that stand in
// them, so that what users are told to type is what is tested.
//
// A fenced block takes part if its info string says how, after the language:
//
//	sh run         typed once; it must succeed
//	sh until       typed again and again until it succeeds
//	text output    what the sh block before it prints: each line stands in the
//	               output, in this order, perhaps with others in between; "…"
//	               is any text. After "sh until" this too is waited for
//	toml file=NAME a file, in the folder in which the commands are typed
//
// All other blocks are for readers. The package knows neither Docker nor
// Interlock: what stands for the reader's own names is replaced by its caller.
package page

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// Page is what of a Markdown file can be run.
type Page struct {
	// Name is the file's, without its folder.
	Name string
	// Sections are those that have steps, in the page's order.
	Sections []Section
}

// Section is what stands below one heading of the second level. What comes
// before the first such heading belongs to a section with the page's title.
type Section struct {
	Title string
	Steps []Step
}

// Step is one block.
type Step struct {
	// Line is where the block's content begins, counted from 1.
	Line int
	// File is the file's name if the block is one, else empty.
	File string
	// Text is the file's content, or the commands.
	Text string
	// Repeat types the commands until they do what the page says.
	Repeat bool
	// Output is what the commands print; empty if the page does not say.
	Output string
}

// Read reads a page. It fails if the page has nothing to run, or a block that
// means to be run and cannot.
func Read(file string) (*Page, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading a page: %w", err)
	}
	r := reader{source: source, page: Page{Name: filepath.Base(file)}}
	document := goldmark.DefaultParser().Parse(text.NewReader(source))
	for node := document.FirstChild(); node != nil; node = node.NextSibling() {
		if err := r.node(node); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(r.page.Sections) == 0 {
		return nil, fmt.Errorf("%s has nothing to run", file)
	}
	return &r.page, nil
}

type reader struct {
	source []byte
	page   Page
	title  string
	last   *Step // the block before, if it was one of commands
}

func (r *reader) node(node ast.Node) error {
	switch node := node.(type) {
	case *ast.Heading:
		if node.Level <= 2 {
			r.title, r.last = string(node.Lines().Value(r.source)), nil
		}
	case *ast.FencedCodeBlock:
		return r.block(node)
	}
	return nil
}

func (r *reader) block(node *ast.FencedCodeBlock) error {
	if node.Info == nil || node.Lines().Len() == 0 {
		return nil
	}
	language, says, _ := strings.Cut(string(node.Info.Value(r.source)), " ")
	if says == "" {
		return nil
	}
	step := Step{
		Line: 1 + strings.Count(string(r.source[:node.Lines().At(0).Start]), "\n"),
		Text: string(node.Lines().Value(r.source)),
	}
	name, isFile := strings.CutPrefix(says, "file=")
	switch {
	case isFile && name == filepath.Base(name):
		step.File = name
	case language == "sh" && (says == "run" || says == "until"):
		step.Repeat = says == "until"
	case language == "text" && says == "output" && r.last != nil && r.last.Output == "":
		r.last.Output = step.Text
		return nil
	default:
		return fmt.Errorf("line %d: a block %q cannot be run here", step.Line, language+" "+says)
	}
	r.add(step)
	return nil
}

func (r *reader) add(step Step) {
	sections := &r.page.Sections
	if n := len(*sections); n == 0 || (*sections)[n-1].Title != r.title {
		*sections = append(*sections, Section{Title: r.title})
	}
	steps := &(*sections)[len(*sections)-1].Steps
	*steps = append(*steps, step)
	r.last = nil
	if step.File == "" {
		r.last = &(*steps)[len(*steps)-1]
	}
}
