// Package wire turns tables, parameters and bundles into the messages of the
// control channel and back. What comes in is checked as strictly as our own code
// would have made it, so that nobody behind this package meets an unsorted list
// or an impossible address, whoever wrote the other side.
//
// It sends nothing and knows no connection, and it does not judge whether a
// table makes sense or a bundle would be accepted by a proxy.
package wire

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxMessage bounds one message in bytes, in either direction. A bundle for
	// 10,000 hosts has about 20 MB.
	MaxMessage = 64 << 20
	// maxReason bounds what a proxy or a renderer has to say about a refusal.
	maxReason = 16 << 10

	// KeepaliveInterval is after how much silence a party asks whether the other
	// one is still there.
	KeepaliveInterval = 10 * time.Second
	// KeepaliveTimeout is how long it waits for the answer. A dead peer is so
	// noticed within 14 s.
	KeepaliveTimeout = 4 * time.Second
	// KeepaliveMin is how often the other side may ask before it is cut off.
	KeepaliveMin = 5 * time.Second
)

// Reason makes a text fit for a message: proxies quote what they were given, so
// it may be long and need not be UTF-8. It keeps the beginning.
func Reason(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxReason {
		return text
	}
	end := maxReason
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " […]"
}

// ascending checks that a list is sorted and names nothing twice.
func ascending[T any, K cmp.Ordered](what string, list []T, key func(T) K) error {
	for i := 1; i < len(list); i++ {
		before, here := key(list[i-1]), key(list[i])
		if here == before {
			return fmt.Errorf("%s %v stands there twice", what, here)
		}
		if here < before {
			return fmt.Errorf("%s %v stands after %v: the list must be sorted", what, here, before)
		}
	}
	return nil
}

func identity[T any](v T) T { return v }
