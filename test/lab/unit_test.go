package lab

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheZeroOptionsAreTheEightNodeLab(t *testing.T) {
	o, err := Options{}.complete()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range o.nodes() {
		names = append(names, string(n.Role)+" "+n.Name)
	}
	want := []string{
		"worker lb-00", "worker lb-01",
		"manager manager-00", "manager manager-01", "manager manager-02",
		"worker worker-00", "worker worker-01", "worker worker-02",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func TestImpossibleLabsAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Workers: 3},
		{Managers: 10},
		{Managers: -1},
		{Managers: 1, Workers: -1},
		{Managers: 1, Workers: 91},
		{Managers: 1, Workers: 1, LoadBalancers: 2},
		{Managers: 1, LoadBalancers: -1},
	} {
		if _, err := o.complete(); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestEventuallySaysWhatWasStillWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := errors.New("the door is closed")
		err := Eventually(t.Context(), time.Second, func(ctx context.Context) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return wrong
		})
		if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "1s") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestEventuallyEndsWithTheFirstSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		err := Eventually(t.Context(), time.Minute, func(context.Context) error {
			if tries++; tries < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		if err != nil || tries != 3 {
			t.Errorf("%d tries and error %v, want 3 and none", tries, err)
		}
	})
}

func TestSubnetsInUseAreLeftAlone(t *testing.T) {
	used := []netip.Prefix{netip.MustParsePrefix("10.213.0.0/22"), netip.MustParsePrefix("172.17.0.1/16")}
	for candidate, want := range map[string]bool{"10.213.3.0/24": true, "10.213.4.0/24": false} {
		if got := overlapsAny(netip.MustParsePrefix(candidate), used); got != want {
			t.Errorf("%s in use: %t, want %t", candidate, got, want)
		}
	}
}

func TestRoutesAreReadAsTheKernelPrintsThem(t *testing.T) {
	text := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"tun0\t0004D50A\t00000000\t0001\t0\t0\t0\t00FCFFFF\t0\t0\t0\n"
	want := []netip.Prefix{netip.MustParsePrefix("10.213.4.0/22")}
	if diff := cmp.Diff(want, parseRoutes(text), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestErrorsDoNotQuoteTheSwarmsToken(t *testing.T) {
	line := commandLine("docker", []string{"swarm", "join", "--token", "SWMTKN-1-secret", "10.213.0.11:2377"})
	if want := "docker swarm join --token *** 10.213.0.11:2377"; line != want {
		t.Errorf("quoted as %q, want %q", line, want)
	}
}

func TestMissingProgramsAreNamedWithTheirPackages(t *testing.T) {
	err := missingPrograms(t.TempDir())
	if err == nil {
		t.Fatal("in an empty folder nothing is missing")
	}
	for _, part := range []string{"dockerd", "apt-get install docker-registry docker.io iproute2 iptables"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is not one line", err)
	}
}
