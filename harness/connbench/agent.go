package main

import (
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"connbench/harness/agent"
)

func agentCommand() *cobra.Command {
	remote := false
	c := &cobra.Command{
		Use:    "agent",
		Short:  "Run programs and read figures on a host, for a harness at the other end of stdin and stdout",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(os.Interrupt) // the harness's affair
			options := agent.Options{}
			if remote {
				options = agent.Remote
			}
			return agent.Serve(os.Stdin, os.Stdout, options)
		},
	}
	c.Flags().BoolVar(&remote, "remote", false, "the harness is on another machine: be alone here, and end when it is silent")
	return c
}
