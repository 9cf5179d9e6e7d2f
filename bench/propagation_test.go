package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// samplesEach is how many tasks a propagation benchmark starts or stops.
var samplesEach = flag.Int("samples", 30, "tasks that a propagation benchmark starts or stops")

// propagation is how long a new task took, for each task and proxy.
type propagation struct {
	command []time.Duration // from the docker command's start to the first answer
	answer  []time.Duration // from the task's RUNNING to the first answer
	// stored is how much of answer had passed before the managers had stored
	// RUNNING: nobody who reads Swarm can know of it earlier. One for each task.
	stored []time.Duration
}

func (p *propagation) add(began time.Time, t task, answers []answer) {
	p.stored = append(p.stored, t.UpdatedAt.Sub(t.Status.Timestamp))
	for _, a := range answers {
		p.command = append(p.command, a.at.Sub(began))
		p.answer = append(p.answer, a.at.Sub(t.Status.Timestamp))
	}
}

func (p *propagation) report(b *testing.B) {
	b.Helper()
	noTimePerOperation(b)
	report(b, "from-running", p.answer)
	report(b, "stored-after", p.stored)
	report(b, "from-command", p.command)
}

// BenchmarkScaleUp measures how soon the second task of an app answers.
func BenchmarkScaleUp(b *testing.B) { throughEach(b, scaleUp) }

func scaleUp(b *testing.B) {
	for b.Loop() {
		var p propagation
		for range *samplesEach {
			known := settleToOne(b, "demo", "demo.local")
			began := time.Now()
			docker(b, "service", "scale", "--detach", "demo=2")
			answers := firstAnswers(b, "demo.local", known)
			p.add(began, taskOf(b, "demo", answers[0].instance), answers)
		}
		settleToOne(b, "demo", "demo.local")
		p.report(b)
	}
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
		p.report(b)
	}
}

// pauseAnyhow lets what the sample before has left behind end, and sees to it that
// the samples do not all begin at the same point of anybody's ticking.
func pauseAnyhow() { time.Sleep(2*time.Second + rand.N(time.Second)) }
