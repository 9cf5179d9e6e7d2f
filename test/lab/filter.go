package lab

import (
	"context"
	"fmt"
	"strings"
)

// makeChains gives every node a chain of its own among the switch's rules, so
// that healing a node is emptying its chain.
func (f *fabric) makeChains(ctx context.Context, nodes []*Node) error {
	var rules []string
	for _, n := range nodes {
		rules = append(rules, ":"+n.name+" - [0:0]")
	}
	for _, n := range nodes {
		rules = append(rules, "-A FORWARD -j "+n.name)
	}
	return f.filter(ctx, rules)
}

// cut drops what passes between the two nodes, in both directions; port 0 means
// all of it, another one what comes from or goes to that port.
func (f *fabric) cut(ctx context.Context, n *Node, from []*Node, port int) error {
	var rules []string
	for _, peer := range from {
		for _, way := range [][2]string{{n.Address(), peer.Address()}, {peer.Address(), n.Address()}} {
			for _, match := range portMatches(port) {
				rules = append(rules, fmt.Sprintf("-A %s -s %s -d %s%s -j DROP", n.name, way[0], way[1], match))
			}
		}
	}
	return f.filter(ctx, rules)
}

func portMatches(port int) []string {
	if port == 0 {
		return []string{""}
	}
	var all []string
	for _, protocol := range []string{"tcp", "udp"} {
		for _, end := range []string{"sport", "dport"} {
			all = append(all, fmt.Sprintf(" -p %s --%s %d", protocol, end, port))
		}
	}
	return all
}

func (f *fabric) heal(ctx context.Context, n *Node) error {
	return f.filter(ctx, []string{":" + n.name + " - [0:0]"})
}

// filter applies the rules to the switch, all or none.
func (f *fabric) filter(ctx context.Context, rules []string) error {
	inside, err := f.inside()
	if err != nil {
		return err
	}
	text := "*filter\n" + strings.Join(rules, "\n") + "\nCOMMIT\n"
	return runIn(ctx, inside, text, "iptables-restore", "--noflush", "--wait", "10")
}
