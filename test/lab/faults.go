package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Kill is the loss of power: the cable goes silent, then the engine, containerd
// and all containers are gone at once, with their network and mounts. Nobody
// gets a goodbye, not even a closed connection: who talked to the node waits for
// his own timeouts, as managers do for 20 s when it led them. The data stay.
func (n *Node) Kill(ctx context.Context) error {
	n.power.Lock()
	defer n.power.Unlock()
	if !n.Running() {
		return fmt.Errorf("kill %s: it is off", n.name)
	}
	// The kernel of a machine without power closes no connections either.
	if err := n.lab.fabric.unplug(ctx, n); err != nil {
		return fmt.Errorf("kill %s: %w", n.name, err)
	}
	if err := n.powerOff(ctx); err != nil {
		return fmt.Errorf("kill %s: %w", n.name, err)
	}
	return nil
}

// Pause stops the engine and its containerd where they stand (SIGSTOP), as an
// overloaded machine might. Containers go on.
func (n *Node) Pause(_ context.Context) error {
	if err := n.signalEngine(stopSignal); err != nil {
		return fmt.Errorf("pause %s: %w", n.name, err)
	}
	return nil
}

// Resume undoes Pause.
func (n *Node) Resume(_ context.Context) error {
	if err := n.signalEngine(continueSignal); err != nil {
		return fmt.Errorf("resume %s: %w", n.name, err)
	}
	return nil
}

func (n *Node) signalEngine(sig os.Signal) error {
	first, err := n.process()
	if err != nil {
		return err
	}
	if !first.alive() {
		return errors.New("it is off")
	}
	engines, err := first.children("dockerd")
	if err != nil {
		return err
	}
	if len(engines) != 1 {
		return fmt.Errorf("it has %d engines instead of one", len(engines))
	}
	containerds, err := engines[0].children("containerd")
	if err != nil {
		return err
	}
	for _, p := range append(engines, containerds...) {
		if err := p.signal(sig); err != nil {
			return err
		}
	}
	return nil
}

// Partition makes the network lose everything between the node and those others,
// or all others of the lab if none are given. The host still reaches the node,
// and the node the registry. Partitions add up until [Node.Heal].
func (n *Node) Partition(ctx context.Context, from ...*Node) error {
	return n.partition(ctx, 0, from)
}

// PartitionPort is Partition for what comes from or goes to one port, TCP or
// UDP: 2377 is the managers', 7946 the gossip's, 4789 the overlay networks'.
func (n *Node) PartitionPort(ctx context.Context, port int, from ...*Node) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("partition %s: there is no port %d", n.name, port)
	}
	return n.partition(ctx, port, from)
}

func (n *Node) partition(ctx context.Context, port int, from []*Node) error {
	if len(from) == 0 {
		for _, other := range n.lab.nodes {
			if other != n {
				from = append(from, other)
			}
		}
	}
	if err := n.lab.fabric.cut(ctx, n, from, port); err != nil {
		return fmt.Errorf("partition %s: %w", n.name, err)
	}
	return nil
}

// Heal undoes every partition that was made with this node as the receiver.
func (n *Node) Heal(ctx context.Context) error {
	if err := n.lab.fabric.heal(ctx, n); err != nil {
		return fmt.Errorf("heal %s: %w", n.name, err)
	}
	return nil
}

// LinkDown pulls the node's cable: nobody reaches it, this machine neither,
// except through its socket.
func (n *Node) LinkDown(ctx context.Context) error { return n.setLink(ctx, "down") }

// LinkUp plugs the cable in again.
func (n *Node) LinkUp(ctx context.Context) error { return n.setLink(ctx, "up") }

func (n *Node) setLink(ctx context.Context, to string) error {
	if err := n.lab.fabric.ip(ctx, "link set "+n.name+" "+to); err != nil {
		return fmt.Errorf("set the link of %s %s: %w", n.name, to, err)
	}
	return nil
}
