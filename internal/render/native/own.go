package native

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/interlock-lb/interlock/internal/render/nginx"
)

// ownKeys are those that nginx does not have.
var ownKeys = map[string]func(*Options, any) error{
	"MaxConnectionsPerClient": func(o *Options, v any) (err error) {
		o.ConnectionsEach, err = nginx.WholeNumber(v, 1, 1_000_000)
		return err
	},
	"WebsocketTimeout": func(o *Options, v any) (err error) { o.WebsocketTimeout, err = wait(v); return err },
	"ShutdownTimeout":  func(o *Options, v any) (err error) { o.Shutdown, err = wait(v); return err },
	"TrustedProxies":   func(o *Options, v any) (err error) { o.Trusted, err = networks(v); return err },
}

func wait(v any) (time.Duration, error) {
	d, err := nginx.Time(v)
	if err == nil && d < time.Second {
		err = errors.New("must be at least one second")
	}
	return d, err
}

// networks reads a list of networks, or of single addresses.
func networks(v any) ([]netip.Prefix, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("is not a list of networks such as 10.0.0.0/8")
	}
	var read []netip.Prefix
	for _, entry := range list {
		text, _ := entry.(string)
		network, err := netip.ParsePrefix(text)
		if addr, isAddr := netip.ParseAddr(text); isAddr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%.80q is not a network such as 10.0.0.0/8", text)
		}
		read = append(read, network.Masked())
	}
	return read, nil
}

// split tells the own keys from those of nginx.
func split(config map[string]any) (own, others map[string]any) {
	own, others = make(map[string]any), make(map[string]any, len(config))
	for key, value := range config {
		if ownKeys[key] != nil {
			own[key] = value
		} else {
			others[key] = value
		}
	}
	return own, others
}

func (o *Options) readOwn(config map[string]any) error {
	var faults []string
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if err := ownKeys[key](o, config[key]); err != nil {
			faults = append(faults, fmt.Sprintf("%s: %s", key, err))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("options for the native proxy: %s", strings.Join(faults, "; "))
	}
	return nil
}
