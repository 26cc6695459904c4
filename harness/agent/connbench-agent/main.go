// Command connbench-agent runs programs on a host and reads that host's figures, for
// a harness at the other end of its standard input and output. It is a program of its
// own so that little has to travel to other hosts.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"

	"connbench/harness/agent"
)

func main() {
	remote := flag.Bool("remote", false, "the harness is on another machine: be alone on this one, and end when it is silent")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "connbench-agent takes no arguments: %q\n", flag.Args())
		os.Exit(2)
	}
	signal.Ignore(os.Interrupt) // that is for the harness
	options := agent.Options{}
	if *remote {
		options = agent.Remote
	}
	if err := agent.Serve(os.Stdin, os.Stdout, options); err != nil {
		fmt.Fprintln(os.Stderr, err) // the harness says whose agent speaks
		os.Exit(1)
	}
}
