// Command swarm opens, holds, loads and counts connections. It takes
// commands on standard input and answers on standard output, as package
// connbench/clients/control says.
package main

import (
	"fmt"
	"os"

	"connbench/clients/internal/coordinator"
	"connbench/clients/internal/worker"
)

const usage = `usage: swarm

Reads commands from standard input, one JSON object a line, and writes events to
standard output; package connbench/clients/control says which. For example:

  {"op":"configure","config":{"engine":"socket","targets":["127.0.0.1:9000"],"sources":["127.1.0.0/16"],"connections":10000}}
  {"op":"ramp","connections":10000,"window":100,"timeout_seconds":5}
  {"op":"census","payload_bytes":32,"timeout_seconds":5}
  {"op":"close","connections":0,"timeout_seconds":5}

The end of input ends it at once.
`

func main() {
	var err error
	switch {
	case len(os.Args) == 1:
		err = coordinator.Coordinate(os.Stdin, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == worker.Argument:
		err = worker.Main()
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "swarm:", err)
		os.Exit(1)
	}
}
