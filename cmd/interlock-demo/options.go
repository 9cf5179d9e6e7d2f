package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

const defaultVersion = "0.1"

// options is what the command line and the environment say.
type options struct {
	listen      string
	listenAfter time.Duration
	version     string
	metadata    string
	tls         *tls.Config // nil: plain HTTP
}

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// parseOptions writes the usage to help if it is asked for, and then returns flag.ErrHelp.
func parseOptions(args []string, env func(string) string, help io.Writer) (options, error) {
	o := options{version: env("VERSION"), metadata: env("METADATA")}
	if o.version == "" {
		o.version = defaultVersion
	}
	flags := flag.NewFlagSet("interlock-demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints the error once
	flags.StringVar(&o.listen, "listen", ":8080", "`address` to serve on")
	flags.DurationVar(&o.listenAfter, "listen-after", 0, "`time` to wait before anybody is served, as apps do that start slowly")
	certFile := flags.String("tls-cert", "", "PEM `file` with the certificate chain; serves TLS, needs --tls-key")
	keyFile := flags.String("tls-key", "", "PEM `file` with the private key of --tls-cert")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		printUsage(flags, help)
		return options{}, err
	} else if err != nil {
		return options{}, &usageError{err}
	}
	if flags.NArg() > 0 {
		return options{}, &usageError{fmt.Errorf("unexpected argument %q: there are only flags, see --help", flags.Arg(0))}
	}
	var err error
	o.tls, err = loadTLS(*certFile, *keyFile)
	return o, err
}

func printUsage(flags *flag.FlagSet, help io.Writer) {
	fmt.Fprintln(help, "Usage: interlock-demo [flags]")
	fmt.Fprintln(help, "Environment: VERSION (default 0.1) and METADATA are shown in every answer.")
	flags.SetOutput(help)
	flags.PrintDefaults()
}

func loadTLS(certFile, keyFile string) (*tls.Config, error) {
	switch {
	case certFile == "" && keyFile == "":
		return nil, nil
	case certFile == "":
		return nil, &usageError{errors.New("--tls-key needs --tls-cert beside it")}
	case keyFile == "":
		return nil, &usageError{errors.New("--tls-cert needs --tls-key beside it")}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("load the certificate of --tls-cert and --tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}
