package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// samplesEach is how many tasks a propagation benchmark starts or stops. Each is
// asked for through two proxies, so there are twice as many samples.
var samplesEach = flag.Int("samples", 25, "tasks that a propagation benchmark starts or stops")

// propagation is how long what Swarm does to tasks took to reach clients, for each
// task and proxy.
type propagation struct {
	command []time.Duration // from the docker command's start to the first answer
	answer  []time.Duration // from the task's RUNNING to the first answer
	// stored is how much of answer had passed before the managers had stored
	// RUNNING, one for each task: nobody who reads Swarm can know of it earlier, and
	// Swarm stores what its nodes report every 100 ms (batches of its dispatcher). From
	// then on it took heard.
	stored, heard []time.Duration
	// starting is when each part had done its own, since RUNNING, and stopping the
	// same since a task was told to stop.
	starting, stopping steps
	// stray is how long requests reached a task after it had been told to stop;
	// failed counts the requests of that time that did.
	stray  []time.Duration
	failed int
}

func (p *propagation) add(began time.Time, t task, answers []answer) {
	p.stored = append(p.stored, t.UpdatedAt.Sub(t.Status.Timestamp))
	for _, a := range answers {
		p.command = append(p.command, a.at.Sub(began))
		p.answer = append(p.answer, a.at.Sub(t.Status.Timestamp))
		p.heard = append(p.heard, a.at.Sub(t.UpdatedAt))
	}
}

func (p *propagation) reportStarts(b *testing.B) {
	b.Helper()
	noTimePerOperation(b)
	report(b, "from-running", p.answer)
	report(b, "stored-after", p.stored)
	report(b, "from-stored", p.heard)
	report(b, "from-command", p.command)
}

// BenchmarkPropagation measures, for every kind of proxy and every source, how
// soon the second task of an app answers, and for how long requests still reach it
// when it is told to stop. It prints a table of all, with the median time at which
// each part of Interlock had done its own.
func BenchmarkPropagation(b *testing.B) {
	rows := []string{
		"| ms | from | p50 | p99 | samples | stored | published | rendered | served | failed |",
		"|---|---|---|---|---|---|---|---|---|---|",
	}
	throughEach(b, func(b *testing.B) {
		for b.Loop() {
			p := propagate(b)
			p.reportStarts(b)
			report(b, "last-request-after-stop", p.stray)
			b.ReportMetric(float64(p.failed), "failed")
			rows = append(rows, p.rows(strings.TrimPrefix(b.Name(), "BenchmarkPropagation/"))...)
		}
	})
	fmt.Fprintln(os.Stdout, strings.Join(rows, "\n"))
}

func (p *propagation) rows(name string) []string {
	row := func(from string, samples, stored []time.Duration, s steps, failed string) string {
		return fmt.Sprintf("| %s | %s | %s | %s | %d | %s | %s | %s |", name, from, round(samples, 0.5), round(samples, 0.99), len(samples),
			round(stored, 0.5), s.cells(), failed)
	}
	return []string{
		row("RUNNING to the first answer", p.answer, p.stored, p.starting, ""),
		row("RUNNING as the managers have it to the first answer", p.heard, nil, steps{}, ""),
		row("told to stop to the last request", p.stray, nil, p.stopping, fmt.Sprint(p.failed)),
	}
}

func propagate(b *testing.B) *propagation {
	b.Helper()
	var p propagation
	stops := watchStops(b)
	for range *samplesEach {
		known := settleToOne(b, "demo", "demo.local")
		began := time.Now()
		docker(b, "service", "scale", "--detach", "demo=2")
		answers := firstAnswers(b, "demo.local", known)
		started := taskOf(b, "demo", answers[0].instance)
		p.add(began, started, answers)
		p.starting.follow(b, started.Status.Timestamp)
		p.stopOne(b, stops)
	}
	settleToOne(b, "demo", "demo.local")
	p.starting.log(b, "RUNNING")
	p.stopping.log(b, "told to stop")
	return &p
}

// settleToOne scales an app to one task, waits until nobody else answers, and
// says who does.
func settleToOne(b *testing.B, service, host string) map[string]bool {
	b.Helper()
	docker(b, "service", "scale", "--detach", service+"=1")
	waitForTasks(b, service, 1)
	list, err := tasks(b.Context(), service)
	check(b, err)
	left := list[0].Status.ContainerStatus.ContainerID[:12]
	// One that is on its way out still answers for seconds; asked alternately with
	// the other one, it would be taken for gone after one question.
	for deadline := time.Now().Add(patience); ; {
		seen := map[string]bool{}
		for range 8 {
			for _, a := range firstAnswers(b, host, nil) {
				seen[a.instance] = true
			}
		}
		if len(seen) == 1 && seen[left] {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d tasks still answer for %s", len(seen), host)
		}
	}
	pauseAnyhow()
	return map[string]bool{left: true}
}

// BenchmarkNewService measures how soon the task of a new app answers for a host
// that was unknown before.
func BenchmarkNewService(b *testing.B) { throughEach(b, newService) }

func newService(b *testing.B) {
	for b.Loop() {
		var p propagation
		for i := range *samplesEach {
			name := fmt.Sprintf("app-%d", i)
			began := time.Now()
			check(b, site.CreateApp(b.Context(), name, name+".local"))
			answers := firstAnswers(b, name+".local", nil)
			p.add(began, taskOf(b, name, answers[0].instance), answers)
			docker(b, "service", "rm", name)
			pauseAnyhow()
		}
		p.reportStarts(b)
	}
}

// pauseAnyhow lets what the sample before has left behind end, and sees to it that
// the samples do not all begin at the same point of anybody's ticking.
func pauseAnyhow() { time.Sleep(2*time.Second + rand.N(time.Second)) }
