package rpc

import (
	"net"
	"slices"
	"testing"
)

// visitor is a connection that only knows whether it was closed.
type visitor struct {
	net.Conn
	closed bool
}

func (v *visitor) Close() error {
	v.closed = true
	return nil
}

func visitors(count int) (list []*visitor, guests []*guest) {
	for range count {
		v := &visitor{}
		list, guests = append(list, v), append(guests, &guest{Conn: v})
	}
	return list, guests
}

func closed(list []*visitor) []int {
	var which []int
	for i, v := range list {
		if v.closed {
			which = append(which, i)
		}
	}
	return which
}

func TestTheOldestMakesRoomForTheNewest(t *testing.T) {
	list, guests := visitors(5)
	c := newCrowd(3)
	for _, g := range guests {
		c.take(g)
	}
	if got := closed(list); !slices.Equal(got, []int{0, 1}) || !guests[0].wasSentAway() || guests[2].wasSentAway() {
		t.Errorf("closed: %v", got)
	}
}

func TestWhoLeavesOrMovesOnTakesNoRoom(t *testing.T) {
	list, guests := visitors(6)
	pending, admitted := newCrowd(2), newCrowd(2)
	pending.take(guests[0])
	pending.take(guests[1])
	_ = guests[0].Close()
	admitted.take(guests[1])
	pending.take(guests[2])
	pending.take(guests[3])
	admitted.take(guests[4])
	if got := closed(list); !slices.Equal(got, []int{0}) {
		t.Errorf("closed: %v, want the one that left", got)
	}
	admitted.take(guests[5])
	if got := closed(list); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("closed: %v, want also the one that was admitted first", got)
	}
}

func TestWhoIsClosedWhileItMovesOnTakesNoRoom(t *testing.T) {
	_, guests := visitors(1)
	c := newCrowd(2)
	_ = guests[0].Close()
	c.take(guests[0])
	if c.guests.Len() != 0 {
		t.Error("a closed connection is counted")
	}
}
