package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a connection that counts what it is given to send.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// sending is an outflow to a peer, which gets nothing until it reads.
func sending(within time.Duration) (o *outflow, via *counted, peer net.Conn, over chan struct{}) {
	near, far := net.Pipe()
	via, over = &counted{Conn: near}, make(chan struct{})
	return newOutflow(via, newClock(), newPanics(nil), func() time.Duration { return within }, func() { close(over) }), via, far, over
}

func TestWhatIsWrittenWhileTheNetworkIsBusyIsSentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, via, peer, over := sending(time.Minute)
		var all []byte
		for i := range byte(100) {
			piece := bytes.Repeat([]byte{i}, 100)
			if _, err := o.Write(piece); err != nil {
				t.Fatal(err)
			}
			all = append(all, piece...)
			synctest.Wait()
		}
		_ = o.Close()
		if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%d bytes arrived of %d, or in another order: %v", len(got), len(all), err)
		}
		if <-over; via.writes.Load() != 2 {
			t.Errorf("it took %d writes, want 2: one while the rest was written", via.writes.Load())
		}
	})
}

func TestMuchMoreThanABufferIsSentInItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer, over := sending(time.Minute)
		all := make([]byte, 10*largeBuffer+1)
		for i := range all {
			all[i] = byte(i % 251)
		}
		go func() {
			_, _ = o.Write(all)
			_ = o.Close()
		}()
		if got, err := io.ReadAll(peer); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%d bytes arrived of %d, or in another order: %v", len(got), len(all), err)
		}
		<-over
	})
}

func TestNothingWaitsForALaterWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, peer, over := sending(time.Minute)
		began, b := time.Now(), make([]byte, 5)
		for range 10 {
			if _, err := o.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(peer, b); err != nil || string(b) != "hello" {
				t.Fatal(string(b), err)
			}
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("it was held back for %v", waited)
		}
		_ = o.Close()
		<-over
	})
}

func TestWhoWritesToAPeerThatTakesNothingIsToldAfterTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, _, over := sending(time.Minute)
		began := time.Now()
		_, err := o.Write(make([]byte, 3*largeBuffer))
		if waited := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || waited != time.Minute {
			t.Errorf("%v after %v, want the limit of a minute", err, waited)
		}
		_ = o.Close()
		<-over
	})
}

func TestClosingDoesNotWaitAndGivesTheLastBytesAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _, _, over := sending(time.Minute)
		began := time.Now()
		_, _ = o.Write([]byte("nobody reads this"))
		synctest.Wait()
		if _ = o.Close(); time.Since(began) > 0 {
			t.Errorf("closing took %v", time.Since(began))
		}
		if <-over; time.Since(began) != closingLimit {
			t.Errorf("it was closed after %v, want %v", time.Since(began), closingLimit)
		}
		if _, err := o.Write([]byte("too late")); err == nil {
			t.Error("what is closed takes more")
		}
	})
}

// abrupt is a connection that is closed by its outflow's owner just as something is
// done with it.
type abrupt struct {
	counted
	out  *outflow
	when string
}

func (a *abrupt) now(what string) {
	if a.when != what || !a.out.mu.TryLock() {
		return // who closes would wait
	}
	a.out.mu.Unlock()
	_ = a.out.Close()
}

func (a *abrupt) SetWriteDeadline(t time.Time) error {
	a.now("a limit is set")
	return a.counted.SetWriteDeadline(t)
}

func (a *abrupt) Write(b []byte) (int, error) {
	a.now("it is written to")
	return a.counted.Write(b)
}

func TestHoweverBusyTheLastBytesHaveNoMoreThanTheirTime(t *testing.T) {
	for _, when := range []string{"a limit is set", "it is written to", "the next is written"} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			over := make(chan struct{})
			via := &abrupt{counted: counted{Conn: near}, when: when}
			o := newOutflow(via, newClock(), newPanics(nil), func() time.Duration { return time.Hour }, func() { close(over) })
			via.out = o
			began := time.Now()
			_, _ = o.Write([]byte("nobody reads this"))
			synctest.Wait()
			_, _ = o.Write([]byte("nor that")) // it is refused where the other is being closed
			_ = o.Close()
			if when == "the next is written" {
				time.Sleep(closingLimit / 2)
				_, _ = far.Read(make([]byte, 100))
			}
			if <-over; time.Since(began) > closingLimit {
				t.Errorf("%s: it was closed after %v, want %v at most", when, time.Since(began), closingLimit)
			}
			far.Close()
		})
	}
}
