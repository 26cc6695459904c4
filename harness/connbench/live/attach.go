package live

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"connbench/clients/control"
	"connbench/harness/attach"
	"connbench/harness/bench"
	"connbench/harness/connbench/flags"
	"connbench/harness/explain"
	"connbench/harness/progress/terminal"
	"connbench/harness/record"
)

// attachFlags are the flags of `connbench attach`.
type attachFlags struct {
	flags.Flags
	attach.Request
	headers, files     []string
	origin, cookieFile string
	ca                 string
	more               int
}

// Attach is `connbench attach`. print prints the tables of a run.
func Attach(print func(out io.Writer, run *record.Run, json bool) error) *cobra.Command {
	f := &attachFlags{Request: attach.Request{Load: attach.Defaults()}}
	c := &cobra.Command{
		Use:   "attach URL",
		Short: "Measure a server that you have started yourself",
		Long: `Open connections to a running WebSocket or HTTP server, and measure what
each costs, until there are as many as asked for or a limit stops the next one. The server's
processes are those that listen where URL says, unless --pid, --cgroup, --container or
--process names others. Nothing on the host is changed, and the connections are closed at
the end. The floor is measured next to it, as the least that such a server can cost.

Connections prove that they work by a ping and its pong, in HTTP by a GET and its answer. If
the server sends back messages or the content of a POST, take --echo. If it answers messages
in its own language, take --say and --expect.`,
		Example: `  connbench attach ws://127.0.0.1:8080/chat --connections 5000
  connbench attach wss://localhost:8443/ --ca ca.pem --echo
  connbench attach http://127.0.0.1:8000/health --connections 2000
  connbench attach ws://chat.default.svc:8080/ws --lab k8s.toml --pods app=chat
  connbench attach ws://localhost:8080/ws --header 'Authorization: Bearer x{n}' --say '{"ping":{n}}' --expect pong`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			tree, err := f.Tree()
			if err != nil {
				return err
			}
			r, err := f.request(args[0])
			if err != nil {
				return explain.Usage(err)
			}
			r.Command = published(os.Args[1:], args[0])
			display := terminal.New(os.Stderr)
			defer display.Close()
			run, failed := attach.Run(c.Context(), tree, r, display)
			if run == nil {
				return failed
			}
			if len(run.Trials) > 0 {
				if err := print(c.OutOrStdout(), run, f.JSON); err != nil {
					return err
				}
			}
			if !f.JSON {
				fmt.Fprintf(c.OutOrStdout(), "\n%s\n\nfiled in %s\n", attach.Verdict(run, f.more), run.Dir)
			}
			return failed
		},
	}
	f.Add(c, "connections", "lab", "results", "servers", "bin", "json")
	AddTarget(c, &f.Target, nil)
	f.addPlace(c.Flags())
	f.addOpening(c.Flags())
	f.addLoad(c.Flags())
	complete(c, "ca", "cookie-file", "header-file")
	return c
}

func (f *attachFlags) addPlace(set *pflag.FlagSet) {
	set.StringVar(&f.SSH, "ssh", "", "the server's host, as ssh takes it; the clients stay here")
	set.StringVar(&f.Pods, "pods", "", "the labels of the server's pods, such as app=chat, in a --lab of kind kubernetes: each gets as many connections, and URL names their Service")
	set.StringSliceVar(&f.Sources, "sources", nil, "addresses or prefixes that clients connect from (default: the lab's)")
	set.StringArrayVar(&f.Owned, "i-own-this-server", nil, "an address outside this machine and the lab whose server you are allowed to load")
}

func (f *attachFlags) addOpening(set *pflag.FlagSet) {
	set.StringArrayVar(&f.headers, "header", nil, "a header of each request, 'Name: value'; {n} is the connection's number, from 0")
	set.StringVar(&f.origin, "origin", "", "the Origin header")
	set.StringSliceVar(&f.Opening.Subprotocols, "subprotocol", nil, "a subprotocol to ask for")
	set.StringVar(&f.cookieFile, "cookie-file", "", "a file with one Cookie header in each line, one for each connection")
	set.StringVar(&f.ca, "ca", "", "a PEM file with the CA certificates to trust (default: those that the clients' hosts trust)")
	set.StringVar(&f.TLS.ServerName, "server-name", "", "the name in the server's certificate (default: the host of URL)")
	set.StringArrayVar(&f.files, "header-file", nil, "'Name: FILE': a header with a value for each connection, one in each line of FILE")
}

func (f *attachFlags) addLoad(set *pflag.FlagSet) {
	set.Float64Var(&f.ConnectsPerSecond, "rate", f.ConnectsPerSecond, "connects per second")
	set.Float64Var(&f.MostPerSecond, "max-rate", f.MostPerSecond, "the most connects and the most messages per second, whatever else is asked for")
	set.IntVar(&f.Steps, "steps", f.Steps, "points at which the ramp pauses and memory is measured")
	set.Float64Var(&f.HoldSeconds, "hold", f.HoldSeconds, "seconds for which the connections stay idle")
	set.Float64Var(&f.LoadSeconds, "seconds", f.LoadSeconds, "seconds that each load takes; 0 leaves the loads out")
	set.BoolVar(&f.Echo, "echo", false, "the server echoes binary messages")
	set.IntVar(&f.PayloadBytes, "payload", f.PayloadBytes, "bytes of each message to be echoed")
	set.StringVar(&f.Say, "say", "", "a text message that the server answers; {n} is the connection's number")
	set.StringVar(&f.Expect, "expect", "", "a regular expression (RE2) that the answer to --say matches")
	set.Float64Var(&f.ListenSeconds, "listen", 0, "seconds for which the swarm only counts what the server sends")
	set.IntVar(&f.more, "extrapolate", 200_000, "the number of connections whose memory and descriptors the last lines estimate")
	set.BoolVar(&f.NoFloor, "no-floor", false, "do not measure the floor")
}

// request returns what the flags ask for.
func (f *attachFlags) request(url string) (attach.Request, error) {
	r := f.Request
	r.URL, r.Lab = url, f.Flags.Lab
	if f.Flags.Connections != nil {
		r.Load.Connections = *f.Flags.Connections
	}
	headers := f.headers
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return r, fmt.Errorf("--ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return r, fmt.Errorf("--ca: %s has no certificate in PEM", f.ca)
		}
		r.TLS.Authority = string(text)
	}
	if f.origin != "" {
		headers = append(headers, "Origin: "+f.origin)
	}
	if f.cookieFile != "" {
		f.files = append(f.files, "Cookie: "+f.cookieFile)
	}
	for _, text := range headers {
		name, value, err := header("--header", text)
		if err != nil {
			return r, err
		}
		r.Opening.Headers = append(r.Opening.Headers, control.Header{Name: name, Value: value})
	}
	for _, file := range f.files {
		name, path, err := header("--header-file", file)
		if err != nil {
			return r, err
		}
		values, err := linesOf(path)
		if err != nil {
			return r, err
		}
		r.Opening.Each = append(r.Opening.Each, control.EachHeader{Name: name, Values: values})
	}
	return r, oneTarget(r.Target)
}

// private are the flags whose values may be secret, each with what a run records of a value.
var private = map[string]func(value string) string{
	"--header": func(value string) string {
		name, _, _ := strings.Cut(value, ":")
		return name + ": …"
	},
	"--origin":      hidden,
	"--subprotocol": hidden, // some servers take tokens there
	"--say":         hidden,
}

func hidden(string) string { return "…" }

// published is a command line as a run records it: without the values of private flags and the
// query of the URL.
func published(args []string, url string) string {
	words := []string{"connbench"}
	for i, arg := range args {
		flag, value, together := strings.Cut(arg, "=")
		switch {
		case arg == url:
			arg = attach.Public(arg)
		case together && private[flag] != nil:
			arg = flag + "=" + private[flag](value)
		case i > 0 && private[args[i-1]] != nil:
			arg = private[args[i-1]](arg)
		}
		words = append(words, arg)
	}
	return bench.Quote(words)
}

// header splits "Name: value".
func header(flag, text string) (name, value string, err error) {
	name, value, found := strings.Cut(text, ":")
	if !found {
		return "", "", fmt.Errorf("%s: %q has no colon: write 'Name: value'", flag, text)
	}
	return strings.TrimSpace(name), strings.TrimSpace(value), nil
}

// linesOf reads the lines of a file that are not empty.
func linesOf(file string) (lines []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s is empty: it holds a value for each connection, one in each line", file)
	}
	return lines, nil
}
