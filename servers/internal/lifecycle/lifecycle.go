// Package lifecycle is a server's side of the process contract: it reads the
// arguments, says when the server is ready, answers questions on standard input
// and ends the process. servers/README.md states the contract.
package lifecycle

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"connbench/servers/contract"
)

// Exit statuses of a server.
const (
	exitDone   = 0 // told to end
	exitFailed = 1 // could not start, or could not go on
	exitUsage  = 2 // wrong arguments
)

// Server is a server that listens.
type Server struct {
	// Addresses are those listened on, in the order of [contract.Options.Listen].
	Addresses []string
	// Connections counts the connections that are open, as [contract.Stats] has it.
	Connections func() int64
	// Failed delivers the error with which the server stopped by itself. A server
	// that cannot stop by itself leaves it nil.
	Failed <-chan error
	// End is called before the process exits because it was told to, for a server that has
	// connections of which the kernel knows nothing. Others leave it nil.
	End func()
}

// Main runs the process: start must return as soon as every address is listened
// on. Main does not return. Nothing has to be closed at the end, since the
// kernel closes every socket of a process that exits; see [Server.End].
//
// abilities are the protocols that the server speaks, in the order of preference, none standing
// for WebSocket alone, and the compressions that it can do.
func Main(start func(contract.Options) (Server, error), abilities ...string) {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr, start, abilities...))
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer, start func(contract.Options) (Server, error), abilities ...string) (status int) {
	protocols := slices.DeleteFunc(slices.Clone(abilities), func(ability string) bool { return slices.Contains(contract.Compressions, ability) })
	if len(protocols) == 0 {
		protocols = []string{contract.ProtocolWebSocket}
	}
	program := filepath.Base(args[0])
	complain := func(err error) { fmt.Fprintf(stderr, "%s: %v\n", program, err) }

	// The flag package writes its own complaint, with the usage, where it finds
	// one: the error alone is the one line that is wanted.
	options, err := contract.ParseArgs(program, args[1:], io.Discard)
	if errors.Is(err, flag.ErrHelp) {
		contract.ParseArgs(program, args[1:], stderr)
		return exitDone
	}
	options.Protocol = cmp.Or(options.Protocol, protocols[0])
	if err == nil && !slices.Contains(protocols, options.Protocol) {
		err = fmt.Errorf("--protocol: this server speaks %s, and no %s", strings.Join(protocols, ", "), options.Protocol)
	}
	if c := options.Compression; err == nil && c != "" && (options.Protocol != contract.ProtocolWebSocket || !slices.Contains(abilities, c)) {
		err = fmt.Errorf("--compression: this server cannot do %s over %s", c, options.Protocol)
	}
	if err != nil {
		complain(err)
		return exitUsage
	}

	// Before the listeners are there: a program that sees one may send the signal.
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	defer signal.Stop(terminate)

	server, err := start(options)
	if err != nil {
		complain(err)
		return exitFailed
	}
	answers := json.NewEncoder(stdout)
	if err := answers.Encode(contract.Ready{Ready: true, Addresses: server.Addresses}); err != nil {
		complain(err)
		return exitFailed
	}

	if server.End != nil {
		defer func() {
			if status == exitDone {
				server.End()
			}
		}()
	}
	questions := lines(stdin)
	for {
		select {
		case <-terminate:
			return exitDone
		case err := <-server.Failed:
			complain(err)
			return exitFailed
		case question, more := <-questions:
			if !more {
				return exitDone
			}
			folder, asked := strings.CutPrefix(question, contract.QuestionProfile+" ")
			switch {
			case question == contract.QuestionStats:
			case question == contract.QuestionSettle:
				settle()
			case asked && profile != nil:
				if err := profile(folder); err != nil {
					complain(err)
					return exitFailed
				}
			default:
				complain(fmt.Errorf("unknown question %q: %q and %q are known", question, contract.QuestionStats, contract.QuestionSettle))
				continue
			}
			if err := answers.Encode(stats(server.Connections())); err != nil {
				complain(err)
				return exitFailed
			}
		}
	}
}

// profile answers [contract.QuestionProfile]. It is nil in programs that are measured.
var profile func(folder string) error

// lines delivers the lines of r, and ends with it.
func lines(r io.Reader) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		for scanner := bufio.NewScanner(r); scanner.Scan(); {
			out <- scanner.Text()
		}
	}()
	return out
}
