package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// The patterns of SwarmKit's constraint package: what does not match them
// fails the whole service there.
var (
	attributePattern = regexp.MustCompile(`^(?i)[a-z_][a-z0-9\-_.]+$`)
	operandPattern   = regexp.MustCompile(`^(?i)[a-z0-9:\-_\s\.\*\(\)\?\+\[\]\\\^\$\|\/]+$`)
)

// attributes are what Swarm compares; any other name it accepts, and then
// finds no node.
var attributes = []string{"node.id", "node.hostname", "node.ip", "node.role", "node.platform.os", "node.platform.arch"}

// checkConstraint takes "node.role==manager" and its like, as they are written.
func checkConstraint(s string) (string, error) {
	name, value, ok := strings.Cut(s, "==")
	if !ok {
		name, value, ok = strings.Cut(s, "!=")
	}
	if !ok {
		if name, value, ok = strings.Cut(s, "="); ok {
			return "", fmt.Errorf("has a single =; write %s", strconv.Quote(strings.TrimSpace(name)+"=="+strings.TrimSpace(value)))
		}
		return "", errors.New("has neither == nor !=; write a constraint such as node.labels.nodetype==loadbalancer")
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !operandPattern.MatchString(value) {
		return "", fmt.Errorf("compares with %s, which Swarm does not take; write a value such as node.labels.nodetype==loadbalancer has", quote(value))
	}
	if isLabel(name) && attributePattern.MatchString(name) {
		return s, nil
	}
	return s, checkAttribute(strings.ToLower(name), value)
}

func checkAttribute(name, value string) error {
	switch name {
	case "node.role":
		if !strings.EqualFold(value, "manager") && !strings.EqualFold(value, "worker") {
			return errors.New("can match no node: a node's role is manager or worker")
		}
	case "node.ip":
		_, noAddress := netip.ParseAddr(value)
		_, noSubnet := netip.ParsePrefix(value)
		if noAddress != nil && noSubnet != nil {
			return errors.New("can match no node: node.ip is compared with an address or a subnet, such as 10.0.0.0/24")
		}
	case "node.id", "node.hostname", "node.platform.os", "node.platform.arch":
	default:
		if near := nearest(name, attributes); near != "" {
			return fmt.Errorf("asks for %s, which no node has; did you mean %s?", quote(name), near)
		}
		return fmt.Errorf("asks for %s, which no node has; write node.labels.NAME, engine.labels.NAME, %s", quote(name), strings.Join(attributes, ", "))
	}
	return nil
}

// checkPreference takes a descriptor with or without "spread=" and returns it
// without.
func checkPreference(s string) (string, error) {
	descriptor := strings.TrimSpace(s)
	if strategy, rest, ok := strings.Cut(descriptor, "="); ok {
		if !strings.EqualFold(strings.TrimSpace(strategy), "spread") {
			return "", errors.New("is not a placement preference: Swarm knows none but spread; write spread=node.labels.zone")
		}
		descriptor = strings.TrimSpace(rest)
	}
	if !isLabel(descriptor) || !attributePattern.MatchString(descriptor) {
		return "", errors.New("is not a placement preference: Swarm spreads over labels only; write spread=node.labels.zone")
	}
	return descriptor, nil
}

// isLabel reports whether name is node.labels.X or engine.labels.X.
func isLabel(name string) bool {
	for _, prefix := range []string{"node.labels.", "engine.labels."} {
		if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}
