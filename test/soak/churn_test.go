package soak

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/interlock-lb/interlock/test/lab"
	"github.com/interlock-lb/interlock/test/load"
)

const (
	// churnEvery is the distance of services that are created: 20 a second.
	churnEvery = 50 * time.Millisecond
	// churnDepth is how many of them are there at a time.
	churnDepth = 20
	websockets = 500
	// warm is the part of all changes that come before memory is looked at: a
	// program that has just started has not yet got what it works with.
	warm = 0.2
)

// churn creates and removes services while websockets are open and the tasks of
// their app get company.
func churn(t *testing.T, i *installation) load.Result {
	api := managersAPI(t)
	i.createDemo(t, 2)
	check(t, site.CreateApp(t.Context(), "talk", "talk.local", append([]string{"--replicas", "2", "--label", "com.docker.lb.websocket_endpoints=/ws"}, onWorkers...)...))
	i.waitServed(t, load.Route{Host: "talk.local", Path: "/ping", Owner: "talk"}, 2)
	open := load.OpenWebsockets(load.WebsocketOptions{
		Proxies: proxies(), Host: "talk.local", Path: "/ws", Count: websockets, Every: 5 * time.Second, Timeout: 10 * time.Second, Limit: 30 * time.Minute,
	})
	t.Cleanup(func() { open.Close() })
	l := startLoad(t)
	count := int(long(20*time.Second) / 5 / churnEvery)
	var before memory
	for n, tick := 0, time.Tick(churnEvery); n < count+churnDepth; n++ {
		if n == int(warm*float64(count)) {
			before = i.memory(t)
		}
		<-tick
		if n < count {
			api.create(t, churning(n))
		}
		if n >= churnDepth {
			api.do(t, http.MethodDelete, "/services/"+churning(n-churnDepth).Name, nil, nil)
		}
		if n%100 == 50 {
			docker(t, "service", "scale", "--detach", fmt.Sprintf("demo=%d", 2+n/100%2))
		}
		if n%400 == 200 {
			docker(t, "service", "scale", "--detach", fmt.Sprintf("talk=%d", 3+n/400))
		}
	}
	i.waitMemory(t, before)
	r := l.Stop()
	sockets := open.Close()
	t.Logf("%d websockets exchanged %d messages", sockets.Opened, sockets.Messages)
	if sockets.Opened != websockets || len(sockets.Lost) > 0 {
		t.Errorf("%d websockets were opened, want %d; %d were lost: %.1000v", sockets.Opened, websockets, len(sockets.Lost), sockets.Lost)
	}
	return r
}

// churning is a service that changes the table and needs no container.
func churning(n int) service {
	return newService(fmt.Sprintf("churn-%d", n), fmt.Sprintf("churn-%d.local", n))
}

// reconfigurations changes labels again and again.
func reconfigurations(t *testing.T, i *installation) load.Result {
	count := often(10_000, 200)
	api := managersAPI(t)
	i.createDemo(t, 2)
	l := startLoad(t)
	configs := docker(t, "config", "ls", "-q")
	s := newService("changing", "changing.local")
	api.create(t, s)
	var before memory
	for n := range count {
		if n == int(warm*float64(count)) {
			before = i.memory(t)
		}
		s.Labels["com.docker.lb.hosts"] = fmt.Sprintf("changing-%d.local", n)
		api.update(t, s)
	}
	i.live(t, "changed.local")
	i.waitMemory(t, before)
	if now := docker(t, "config", "ls", "-q"); now != configs {
		t.Errorf("the configs before\n%s\nand after\n%s", configs, now)
	}
	return l.Stop()
}

// memory is what the processes of Interlock's tasks hold for themselves, in bytes.
type memory map[string]int64

func (m memory) String() string {
	return fmt.Sprintf("core %.1f MB, lb-00 %.1f MB, lb-01 %.1f MB", float64(m["core"])/1e6, float64(m["lb-00"])/1e6, float64(m["lb-01"])/1e6)
}

// memory reads the control groups of the core and of the proxies.
func (i *installation) memory(t *testing.T) memory {
	t.Helper()
	m, err := readMemory(t)
	check(t, err)
	t.Log("memory: ", m)
	return m
}

func readMemory(t *testing.T) (memory, error) {
	core := theTask(t, "interlock")
	m := memory{}
	var err error
	if m["core"], err = memoryOf(t, core); err != nil {
		return nil, err
	}
	all, err := tasksOf(t.Context(), "interlock-proxy")
	for _, k := range all {
		if m[k.node], err = memoryOf(t, k); err != nil {
			return nil, err
		}
	}
	return m, err
}

// waitMemory waits until nobody holds more than a tenth more than before: what
// is free goes back to the kernel within minutes. The short form only says what
// is held, since after so little a tenth says nothing.
func (i *installation) waitMemory(t *testing.T, before memory) {
	t.Helper()
	if !full {
		i.memory(t)
		return
	}
	err := lab.Eventually(t.Context(), patience, func(context.Context) error {
		now, err := readMemory(t)
		if err != nil {
			return err
		}
		for who, n := range now {
			if n > before[who]+before[who]/10 {
				return fmt.Errorf("%s holds %.1f MB, %.1f before", who, float64(n)/1e6, float64(before[who])/1e6)
			}
		}
		t.Log("memory: ", now)
		return nil
	})
	if err != nil {
		t.Errorf("memory is not what it was: %v", err)
	}
}
