package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

// Unready says in one line why no Swarm can be managed through this API.
type Unready struct {
	Reason string
	// Retryable tells that waiting can help: what is missing may yet come
	// without a change to our own configuration.
	Retryable bool
	cause     error
}

// Error returns the reason.
func (u *Unready) Error() string { return u.Reason }

// Unwrap returns what the engine or the system said, if it said anything.
func (u *Unready) Unwrap() error { return u.cause }

// Check tells whether the API is that of a Swarm manager that can be used. Its
// error is an *Unready, or that of ctx.
func (c *Client) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if _, err := c.negotiate(ctx); err != nil {
		return err
	}
	answer, err := c.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return c.unreachable(ctx, err)
	}
	if reason := unusable(answer.Info.Swarm); reason != "" {
		return &Unready{Reason: reason, Retryable: true}
	}
	return nil
}

// TrustRoot returns the certificate of the Swarm's own authority, in PEM form,
// by which its managers are known. It can change while the Swarm runs.
func (c *Client) TrustRoot(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if _, err := c.negotiate(ctx); err != nil {
		return nil, err
	}
	answer, err := c.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if cluster := answer.Info.Swarm.Cluster; cluster != nil && cluster.TLSInfo.TrustRoot != "" {
		return []byte(cluster.TLSInfo.TrustRoot), nil
	}
	return nil, errors.New("the Docker Engine names no root certificate of the Swarm: it is no manager, or its managers have no leader now")
}

// unusable says why the Swarm that an engine describes cannot be managed
// through it, or nothing.
func unusable(info swarm.Info) string {
	switch {
	case info.LocalNodeState == swarm.LocalNodeStateInactive:
		return "the Docker Engine is not part of a Swarm: run `docker swarm init`, or join it to one as a manager"
	case info.LocalNodeState == swarm.LocalNodeStateLocked:
		return "the Swarm is locked: run `docker swarm unlock` on this manager"
	case info.LocalNodeState != swarm.LocalNodeStateActive:
		return fmt.Sprintf("the Docker Engine's Swarm is %q, not active%s", info.LocalNodeState, because(info.Error))
	case !info.ControlAvailable:
		return "the Docker Engine is a Swarm worker, not a manager: run the core on a manager (constraint node.role==manager), or promote this node"
	case info.Error != "":
		return "the Swarm cannot be managed now" + because(info.Error)
	default:
		return ""
	}
}

func because(words string) string {
	if words == "" {
		return ""
	}
	return ": " + inPlainWords(words)
}

// negotiate agrees with the engine on the API's version, once, and returns it.
// The typed client would do so by itself, but goes on with a version that does
// not fit if it fails, and races with itself meanwhile.
func (c *Client) negotiate(ctx context.Context) (string, error) {
	c.negotiating.Lock()
	defer c.negotiating.Unlock()
	if c.version != "" {
		return c.version, nil
	}
	pong, err := c.api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true})
	switch {
	case cerrdefs.IsInvalidArgument(err) && pong.APIVersion != "":
		return "", &Unready{
			Reason: fmt.Sprintf("the Docker Engine at %s is too old: it speaks API %s, and %s (Engine 19.03) is the least that will do",
				c.url, pong.APIVersion, client.MinAPIVersion),
			cause: err,
		}
	case err != nil:
		return "", c.unreachable(ctx, err)
	case pong.APIVersion == "":
		return "", &Unready{Reason: "what answers at " + c.url + " is no Docker Engine: it names no API version"}
	}
	c.version = c.api.ClientVersion()
	return c.version, nil
}

// unreachable turns a failed call into an *Unready, unless ctx was canceled.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	unready := &Unready{Retryable: true, cause: err}
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		unready.Reason = fmt.Sprintf("the Docker API at %s does not answer within %s", c.url, readLimit)
	case errors.As(err, &untrusted):
		unready.Reason = fmt.Sprintf("the Docker API at %s is not trusted: %v", c.url, untrusted)
		unready.Retryable = false
	case strings.Contains(err.Error(), "permission denied"):
		unready.Reason = fmt.Sprintf("no permission to use the Docker API at %s: its socket must be open to the user that this process runs as", c.url)
		unready.Retryable = false
	default:
		unready.Reason = fmt.Sprintf("the Docker API at %s cannot be used: %s", c.url, inPlainWords(err.Error()))
	}
	return unready
}
