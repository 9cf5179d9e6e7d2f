package nginx

import (
	"testing"
	"time"
)

// seen is a connection as the kernel showed it, at a time since the beginning.
type seen struct {
	at    time.Duration
	acked uint64
	tries int
	sent  time.Duration // ago
	none  bool          // nothing was unacknowledged
}

func TestAPeerIsSilentThatAcknowledgesNothingForTheLimit(t *testing.T) {
	const half = peerLimit / 2
	for name, c := range map[string]struct {
		seen []seen
		want bool
	}{
		"nothing acknowledged for the limit": {[]seen{{acked: 7}, {at: half, acked: 7, tries: 2}, {at: peerLimit, acked: 7, tries: 3}}, true},
		"sent before it was first looked at": {[]seen{{acked: 7, sent: half}, {at: half, acked: 7, tries: 3}}, true},
		"not for the limit yet":              {[]seen{{acked: 7}, {at: peerLimit - 1, acked: 7, tries: 3}}, false},
		"not sent again twice":               {[]seen{{acked: 7}, {at: peerLimit, acked: 7, tries: 1}}, false},
		"slow, but acknowledges":             {[]seen{{acked: 7}, {at: half, acked: 8}, {at: peerLimit, acked: 8, tries: 3}}, false},
		"everything acknowledged meanwhile":  {[]seen{{acked: 7}, {at: half, none: true}, {at: peerLimit, acked: 7, tries: 3}}, false},
		"idle for long, asked just now":      {[]seen{{at: 10 * peerLimit, acked: 7, tries: 3, sent: 0}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			peers, got := make(quietPeers), false
			for _, s := range c.seen {
				var all []pending
				if !s.none {
					all = []pending{{cookie: [2]uint32{1}, acked: s.acked, tries: s.tries, sent: s.sent}}
				}
				got = len(peers.silent(began.Add(s.at), all)) == 1
			}
			if got != c.want {
				t.Errorf("taken for silent: %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatIsRememberedOfPeersEndsWithTheirConnections(t *testing.T) {
	peers := make(quietPeers)
	for n := range uint32(100) {
		peers.silent(time.Now(), []pending{{cookie: [2]uint32{n}}})
	}
	peers.silent(time.Now(), nil)
	if len(peers) != 0 {
		t.Errorf("%d connections are remembered, which are gone", len(peers))
	}
}
