package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *process) configCommand() *cobra.Command {
	config := &cobra.Command{Use: "config", Short: "Work with config.toml"}
	config.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Say everything that is wrong with a configuration",
		Long: `Check reads a config.toml as "interlock run" would and says everything that is
wrong with it, one line each, with line and column. It exits 0 if the file can
be used, 2 if not.`,
		Args: cobra.ExactArgs(1),
		RunE: running(func(_ context.Context, args []string) error { return p.checkConfig(args[0]) }),
	})
	return config
}

func (p *process) checkConfig(file string) error {
	s, err := loadSettings(file)
	if err != nil {
		return err
	}
	for _, notice := range s.Notices() {
		fmt.Fprintf(p.stdout, "notice: %s\n", notice)
	}
	fmt.Fprintf(p.stdout, "%s can be used\n", file)
	return nil
}
