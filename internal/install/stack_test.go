package install_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/interlock-lb/interlock/internal/install"
	"github.com/interlock-lb/interlock/internal/settings"
)

var update = flag.Bool("update", false, "write deploy/stacks anew")

func options(variant string) install.Options {
	return install.Options{
		Variant: variant, Version: "dev", LoadBalancers: "nodetype=loadbalancer", Proxies: 2, Port: 80, SSLPort: 443,
	}
}

// everyOptions are those of every variant with every proxy that it can have.
func everyOptions() []install.Options {
	var list []install.Options
	for _, variant := range install.Variants() {
		if variant == install.Standalone {
			o := options(variant)
			o.LoadBalancers, o.Proxies = "", 1
			list = append(list, o)
			continue
		}
		for _, proxy := range []string{install.Nginx, install.Native} {
			o := options(variant)
			o.Proxy = proxy
			list = append(list, o)
		}
	}
	return list
}

func TestTheStackFilesInDeployAreThoseThatInstallWrites(t *testing.T) {
	for _, o := range everyOptions() {
		stack, err := install.NewStack(o)
		if err != nil {
			t.Fatal(err)
		}
		for ending, want := range map[string]string{".yml": stack.File, ".toml": stack.Config} {
			if want == "" {
				continue
			}
			file := filepath.Join("../../deploy/stacks", stack.Name+ending)
			if *update {
				if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("%s; -update writes it anew:\n%s", file, diff)
			}
		}
	}
}

func TestEveryVariantsConfigurationIsOneThatTheCoreTakes(t *testing.T) {
	for _, o := range everyOptions() {
		if o.Variant == install.Standalone {
			continue // it has none
		}
		for _, label := range []string{"", "tier=edge"} {
			o.LoadBalancers = label
			stack, err := install.NewStack(o)
			if err != nil {
				t.Fatal(err)
			}
			s, err := settings.Parse(stack.Name, []byte(stack.Config))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(s.Extensions[0].ProxyConstraints); got != len(strings.Fields(label)) {
				t.Errorf("with the label %q there are %d constraints", label, got)
			}
			if notices := s.Notices(); len(notices) > 0 {
				t.Errorf("%s: the core has something to say: %q", stack.Name, notices)
			}
		}
	}
}

func TestOptionsThatCannotBeAreNamedByTheirFlag(t *testing.T) {
	for flag, spoil := range map[string]func(*install.Options){
		"--variant":             func(o *install.Options) { o.Variant = "mesh" },
		"--proxy \"envoy\"":     func(o *install.Options) { o.Proxy = "envoy" },
		"serves clients itself": func(o *install.Options) { o.Variant, o.Proxy = install.Standalone, install.Nginx },
		"--image-prefix":        func(o *install.Options) { o.ImagePrefix = "registry" },
		"--version":             func(o *install.Options) { o.Version = "1.0\n    privileged: true" },
		"--lb-label":            func(o *install.Options) { o.LoadBalancers = `a"=b` },
		"--proxies":             func(o *install.Options) { o.Proxies = 0 },
		"--port":                func(o *install.Options) { o.Port = 70000 },
		"--ssl-port":            func(o *install.Options) { o.SSLPort = 0 },
		"are both":              func(o *install.Options) { o.SSLPort = o.Port },
	} {
		t.Run(flag, func(t *testing.T) {
			o := options("hybrid")
			spoil(&o)
			if _, err := install.NewStack(o); err == nil || !strings.Contains(err.Error(), flag) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
