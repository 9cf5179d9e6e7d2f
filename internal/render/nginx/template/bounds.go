package template

import (
	"errors"
	"fmt"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
)

const (
	// maxOutput is half of what a message to the core may have, in bytes.
	maxOutput = 32 << 20
	// leastSteps and stepsForEach host and target bound how often loops turn and
	// templates call templates: a million take some seconds. The documented
	// template takes three for each.
	leastSteps, stepsForEach = 20_000, 20
)

// stepFunction is called at the beginning of every loop's turn and of every
// template: nothing else in text/template can be stopped from outside.
const stepFunction = "interlockStep"

// exceeded is a bound that a template ran into.
type exceeded struct{ words string }

func (e *exceeded) Error() string { return e.words }

// output is what a template writes, and what that has taken.
type output struct {
	text strings.Builder
	// steps are counted up to limit.
	steps, limit int
}

// Write never takes more than maxOutput.
func (o *output) Write(data []byte) (int, error) {
	if o.text.Len()+len(data) > maxOutput {
		return 0, &exceeded{fmt.Sprintf("its output is larger than %d MiB", maxOutput>>20)}
	}
	return o.text.Write(data)
}

// step counts a turn of what stands at a place of the template.
func (o *output) step(place string) (string, error) {
	o.steps++
	if o.steps > o.limit {
		return "", &exceeded{fmt.Sprintf("%s: its loops and templates have taken %d steps; is one of them without an end?", place, o.limit)}
	}
	return "", nil
}

// limited bounds what print and its like return: strings can be doubled in loops.
func limited(f func(...any) string) func(...any) (string, error) {
	return func(args ...any) (string, error) {
		s := f(args...)
		if len(s) > maxOutput {
			return "", &exceeded{fmt.Sprintf("a text is larger than %d MiB", maxOutput>>20)}
		}
		return s, nil
	}
}

// plain leaves out what text/template says of the call that noticed a bound.
func plain(err error) error {
	var bound *exceeded
	if errors.As(err, &bound) {
		return bound
	}
	return err
}

// bound adds the calls of stepFunction to a template and to all that it defines.
func bound(t *texttemplate.Template) {
	for _, each := range t.Templates() {
		if each.Tree != nil {
			boundList(each.Tree, each.Root, true)
		}
	}
}

func boundList(tree *parse.Tree, list *parse.ListNode, counts bool) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.RangeNode:
			boundList(tree, n.List, true)
			boundList(tree, n.ElseList, false)
		case *parse.IfNode:
			boundList(tree, n.List, false)
			boundList(tree, n.ElseList, false)
		case *parse.WithNode:
			boundList(tree, n.List, false)
			boundList(tree, n.ElseList, false)
		}
	}
	if counts {
		list.Nodes = append([]parse.Node{stepAt(tree, list)}, list.Nodes...)
	}
}

// stepAt is {{ interlockStep "PLACE" }}, with the place of the list.
func stepAt(tree *parse.Tree, list *parse.ListNode) parse.Node {
	place, _ := tree.ErrorContext(list)
	call := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: list.Pos, Args: []parse.Node{
		parse.NewIdentifier(stepFunction).SetPos(list.Pos).SetTree(tree),
		&parse.StringNode{NodeType: parse.NodeString, Pos: list.Pos, Quoted: fmt.Sprintf("%q", place), Text: place},
	}}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: list.Pos, Pipe: &parse.PipeNode{
		NodeType: parse.NodePipe, Pos: list.Pos, Cmds: []*parse.CommandNode{call},
	}}
}
