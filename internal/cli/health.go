package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/interlock-lb/interlock/internal/pki"
	"github.com/interlock-lb/interlock/internal/rpc"
)

// healthLimit is below the health check's own timeout in the stack files.
const healthLimit = 2 * time.Second

// healthCommand is for health checks: the images have no other program.
func (p *process) healthCommand() *cobra.Command {
	var address, admin string
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Say whether the core, an agent or a standalone in this container is well",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8080", "`ADDRESS` of its control port")
	cmd.Flags().StringVar(&admin, "admin", "", "ask GET /healthz on this admin `ADDRESS` instead, such as 127.0.0.1:9090")
	cmd.RunE = running(func(ctx context.Context, _ []string) error {
		if admin != "" {
			return askHealth(ctx, admin)
		}
		return shakeHands(ctx, address)
	})
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

// askHealth fails with what the process says of itself if it is not well.
func askHealth(ctx context.Context, address string) error {
	const most = 4 << 10 // bytes, of an answer
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("the admin address: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("the admin address does not answer: %w", err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, most))
	if err != nil {
		return fmt.Errorf("the admin address does not answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s", bytes.TrimSpace(said))
	}
	return nil
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
