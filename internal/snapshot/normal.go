package snapshot

import (
	"slices"
	"strings"
	"time"
)

// swarmRestartDelay is the delay of a service that says nothing of it.
const swarmRestartDelay = 5 * time.Second

// Normalized returns s in the form in which Swarm gives a specification back:
// defaults spelled the one way that this package names them, empty lists and
// maps nil, lists without an order of their own sorted. Two specifications
// mean the same to Swarm if their normal forms are equal, so whoever compares
// specifications, or stores one to compare it later, normalizes them first.
// s itself stays as it is.
func (s ServiceSpec) Normalized() ServiceSpec {
	s.Image = normalImage(s.Image)
	for _, m := range []*map[string]string{&s.Labels, &s.Env, &s.ContainerLabels, &s.Sysctls} {
		*m = nilIfEmpty(*m)
	}
	s.Ports = normalPorts(s.Ports)
	s.Secrets, s.Configs = normalFiles(s.Secrets), normalFiles(s.Configs)
	s.Networks = slices.Sorted(slices.Values(s.Networks))
	if s.UpdateOrder == "stop-first" {
		s.UpdateOrder = ""
	}
	if s.UpdateFailureAction == "pause" {
		s.UpdateFailureAction = ""
	}
	for _, d := range []**time.Duration{&s.UpdateDelay, &s.UpdateMonitor} {
		if *d != nil && **d == 0 {
			*d = nil
		}
	}
	if s.RestartDelay != nil && *s.RestartDelay == swarmRestartDelay {
		s.RestartDelay = nil
	}
	for _, list := range []*[]string{&s.Args, &s.Constraints, &s.Preferences, &s.Networks, &s.CapabilityDrop, &s.CapabilityAdd} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(s.Mounts) == 0 {
		s.Mounts = nil
	}
	return s
}

// normalImage spells an image's name as Docker's client does before it sends
// one: without Docker Hub's own prefix, and with a tag.
func normalImage(image string) string {
	for _, hub := range []string{"docker.io/", "index.docker.io/"} {
		if rest, found := strings.CutPrefix(image, hub); found {
			image = strings.TrimPrefix(rest, "library/")
		}
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	if image == "" || strings.ContainsAny(name, ":@") {
		return image
	}
	return image + ":latest"
}

func normalPorts(ports []Port) []Port {
	if len(ports) == 0 {
		return nil
	}
	ports = slices.Clone(ports)
	for i := range ports {
		if ports[i].Protocol == "" {
			ports[i].Protocol = "tcp"
		}
		if ports[i].Mode == "" {
			ports[i].Mode = PublishIngress
		}
	}
	slices.SortFunc(ports, comparePorts)
	return ports
}

func normalFiles(files []FileRef) []FileRef {
	if len(files) == 0 {
		return nil
	}
	files = slices.Clone(files)
	for i := range files {
		if files[i].UID == "0" {
			files[i].UID = ""
		}
		if files[i].GID == "0" {
			files[i].GID = ""
		}
	}
	slices.SortFunc(files, compareFileRefs)
	return files
}

func nilIfEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
