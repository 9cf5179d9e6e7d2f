package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// healthLimit is below the health check's own timeout in the stack files.
const healthLimit = 2 * time.Second

// healthCommand is for health checks: the images have no other program.
func (p *process) healthCommand() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Say whether the core, or an agent, in this container answers",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8080", "`ADDRESS` of its control port")
	cmd.RunE = running(func(ctx context.Context, _ []string) error { return shakeHands(ctx, address) })
	return cmd
}

// shakeHands succeeds if a TLS server answers. Whose it is does not matter inside
// one container, and a client without an identity learns no more.
func shakeHands(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{
		InsecureSkipVerify: true, ServerName: rpc.HealthName, MinVersion: tls.VersionTLS13,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("the control port does not answer: %w", err)
	}
	return conn.Close()
}

func (p *process) authorityCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "authority",
		Short: "Print a new authority, certificate and key, for a Docker secret",
		Args:  cobra.NoArgs,
		RunE: running(func(context.Context, []string) error {
			authority, err := pki.NewAuthority(time.Now())
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(authority.PEM())
			return err
		}),
	}
}
