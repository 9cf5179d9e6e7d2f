package probe_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/interlock-lb/interlock/internal/admission"
	"github.com/interlock-lb/interlock/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listening is an address at which every connection is handed to do.
func listening(t *testing.T, do func(net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			do(conn)
			conn.Close()
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}

func waitForClient(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }

func TestWhoListensAccepts(t *testing.T) {
	silent := listening(t, waitForClient)
	talks := listening(t, func(conn net.Conn) { _, _ = conn.Write([]byte("220 mail\r\n")); waitForClient(conn) })
	for _, address := range []netip.AddrPort{silent, talks} {
		if !probe.Knock(t.Context(), address) {
			t.Errorf("%s does not accept", address)
		}
	}
}

// vacant is an address at which nobody listens.
func vacant(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func TestWhereNobodyListensNothingAccepts(t *testing.T) {
	if probe.Knock(t.Context(), vacant(t)) {
		t.Error("it accepts")
	}
}

// Docker's proxy for published ports does this while the container refuses.
func TestAConnectionThatIsClosedAtOnceDoesNotCount(t *testing.T) {
	if probe.Knock(t.Context(), listening(t, func(net.Conn) {})) {
		t.Error("it accepts")
	}
}

// street has addresses of which some accept.
type street struct {
	mu      sync.Mutex
	accepts map[netip.AddrPort]bool
	knocks  map[netip.AddrPort][]time.Time
	told    []netip.AddrPort
	rounds  []uint64
}

func (s *street) knock(_ context.Context, a netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.knocks[a] = append(s.knocks[a], time.Now())
	return s.accepts[a]
}

// at are the times of the attempts.
func (s *street) at(a netip.AddrPort) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.knocks[a])
}

func (s *street) accept(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepts[a] = true
}

func (s *street) tell(round uint64, a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told, s.rounds = append(s.told, a), append(s.rounds, round)
}

// walk runs a prober over the street.
func walk(t *testing.T, f func(s *street, ask func(round uint64, addresses ...netip.AddrPort))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &street{accepts: map[netip.AddrPort]bool{}, knocks: map[netip.AddrPort][]time.Time{}}
		questions := make(chan admission.Question)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			prober := probe.Prober{Knock: s.knock, Accepts: s.tell}
			prober.Run(ctx, questions)
		}()
		f(s, func(round uint64, addresses ...netip.AddrPort) {
			questions <- admission.Question{Round: round, Addresses: addresses}
			synctest.Wait()
		})
		cancel()
		<-ended
	})
}

var first, second = netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")

func TestTheFirstAttemptIsMadeAtOnceAndTheNextOnesSoon(t *testing.T) {
	walk(t, func(s *street, ask func(uint64, ...netip.AddrPort)) {
		began := time.Now()
		ask(1, first)
		time.Sleep(admission.Limit)
		synctest.Wait()
		at := s.at(first)
		if !at[0].Equal(began) {
			t.Errorf("the first attempt came after %s", at[0].Sub(began))
		}
		for i := 1; i < len(at); i++ {
			if pause := at[i].Sub(at[i-1]); pause < 10*time.Millisecond || pause > 250*time.Millisecond {
				t.Fatalf("attempt %d came %s after the one before", i, pause)
			}
		}
		before := len(at)
		time.Sleep(time.Minute)
		synctest.Wait()
		if more := len(s.at(first)) - before; more < 10 || more > 20 {
			t.Errorf("when nobody waited any more there were %d attempts in a minute", more)
		}
	})
}

func TestWhatAcceptsIsToldOnceWithItsRound(t *testing.T) {
	walk(t, func(s *street, ask func(uint64, ...netip.AddrPort)) {
		s.accept(second)
		ask(3, first)
		ask(4, first, second)
		s.accept(first)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Equal(s.told, []netip.AddrPort{second, first}) || !slices.Equal(s.rounds, []uint64{4, 3}) {
			t.Errorf("told %v of rounds %v", s.told, s.rounds)
		}
	})
}

func TestWhatIsNotAskedAnyMoreIsLeftAlone(t *testing.T) {
	walk(t, func(s *street, ask func(uint64, ...netip.AddrPort)) {
		ask(1, first, second)
		ask(2, second)
		before := len(s.at(first))
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := len(s.at(first)); after != before {
			t.Errorf("it was tried %d times more", after-before)
		}
	})
}
