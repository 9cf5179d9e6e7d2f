package delivery

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	interlockv1 "github.com/interlock-lb/interlock/api/interlock/v1"
)

const (
	renewalLimit = 15 * time.Second // for one call to the agent
	// renewalRetry is the pause after a renewal that failed. There is a third of
	// the lifetime left to try.
	renewalRetry = time.Minute
	// longestWait is how long the clock is left alone: a machine that slept must
	// not miss the day.
	longestWait = time.Hour
)

// validity is how long the identity that a proxy has is valid.
type validity struct{ notBefore, notAfter time.Time }

// presented is the validity of what the other side of a connection has shown.
func presented(ctx context.Context) validity {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			leaf := info.State.PeerCertificates[0]
			return validity{leaf.NotBefore, leaf.NotAfter}
		}
	}
	return validity{}
}

func (s *session) untilRenewal() time.Duration {
	at := s.courier.deliverer.options.RenewAt(s.notBefore, s.notAfter)
	return min(time.Until(at), longestWait)
}

// renewIfDue says when to look again.
func (s *session) renewIfDue(ctx context.Context) time.Duration {
	if wait := s.untilRenewal(); wait > 0 {
		return wait
	}
	if err := s.renew(ctx); err != nil {
		if ctx.Err() == nil {
			s.courier.log.Warn("the proxy's identity was not renewed, trying again", "after", renewalRetry, "expires", s.notAfter, "error", err)
		}
		return renewalRetry
	}
	s.courier.log.Info("the proxy's identity was renewed", "expires", s.notAfter)
	return max(s.untilRenewal(), time.Second)
}

// renew has the agent make a key, signs it and hands the certificate back.
func (s *session) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewalLimit)
	defer cancel()
	request, err := s.client.RequestRenewal(ctx, &interlockv1.RequestRenewalRequest{})
	if err != nil {
		return fmt.Errorf("asking the agent for a key: %w", err)
	}
	der, err := s.courier.deliverer.options.Sign(s.courier.target.cluster, request.GetCertificateRequest())
	if err != nil {
		return fmt.Errorf("signing the agent's key: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("the signed certificate cannot be read")
	}
	if _, err := s.client.CompleteRenewal(ctx, &interlockv1.CompleteRenewalRequest{Certificate: der}); err != nil {
		return fmt.Errorf("handing the agent its certificate: %w", err)
	}
	s.validity = validity{certificate.NotBefore, certificate.NotAfter}
	return nil
}
