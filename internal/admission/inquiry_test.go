package admission_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/interlock-lb/interlock/internal/admission"
)

func addresses(ports ...uint16) []netip.AddrPort {
	list := make([]netip.AddrPort, len(ports))
	for i, p := range ports {
		list[i] = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), p)
	}
	return list
}

func TestAQuestionIsWhatHasNotBeenAnswered(t *testing.T) {
	var i admission.Inquiry
	if !i.Ask(addresses(2, 1, 3)) || i.Ask(addresses(1, 2, 3)) {
		t.Error("only the first of two equal questions is a change")
	}
	if !i.Accept(1, addresses(2)[0]) || i.Accept(1, addresses(2)[0]) || i.Accept(1, addresses(9)[0]) {
		t.Error("only the first word about what was asked is news")
	}
	want := admission.Question{Round: 1, Addresses: addresses(1, 3)}
	if diff := cmp.Diff(want, i.Question(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
}

func TestTheWordOfWhoWasAtAnAddressBeforeIsNone(t *testing.T) {
	var i admission.Inquiry
	i.Ask(addresses(1))
	i.Ask(nil)
	i.Ask(addresses(1))
	if i.Accept(1, addresses(1)[0]) || len(i.Accepts()) != 0 {
		t.Error("an answer of the first round counts in the third")
	}
	if !i.Accept(3, addresses(1)[0]) {
		t.Error("an answer of the third round does not count")
	}
}

func TestAnAnswerIsForgottenWithItsQuestion(t *testing.T) {
	var i admission.Inquiry
	i.Ask(addresses(1, 2))
	i.Accept(1, addresses(1)[0])
	i.Ask(addresses(2))
	i.Ask(addresses(1, 2))
	if len(i.Accepts()) != 0 {
		t.Errorf("it is still taken to accept: %v", i.Accepts())
	}
}

func TestOfVeryManyAddressesTheFirstAreAsked(t *testing.T) {
	var i admission.Inquiry
	var all []netip.AddrPort
	for port := range admission.MaxAddresses + 10 {
		all = append(all, addresses(uint16(port+1))...)
	}
	i.Ask(all)
	if got := len(i.Question().Addresses); got != admission.MaxAddresses {
		t.Errorf("%d are asked", got)
	}
}
