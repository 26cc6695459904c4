// Package shell reaches a host by a command that runs on it whatever stands behind
// it, with its standard input and output here: `ssh HOST`, `kubectl exec -i POD --`,
// `srun --overlap -w NODE`, or nothing at all for this machine. It needs no more there
// than a POSIX shell and something to compute SHA-256 sums.
package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"connbench/clients/addresses"
	"connbench/harness/agent"
	"connbench/harness/agent/programs"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/record"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
)

// Host is a host and the way to it.
type Host struct {
	Name string
	// Via goes in front of a command to have it run on the host.
	Via []string
	// Joined is true where the words behind Via are joined to a line, which a shell
	// there takes apart, as ssh does.
	Joined bool
	// Sudo runs every command as root, by `sudo -n`.
	Sudo bool
	// Place brings programs to the host by what its engine has for that; nil: over the
	// pipe.
	Place agent.Place
	// Explain adds to the error of a command what is known of the way to the host; nil
	// adds nothing.
	Explain func(error) error
}

// Command is what runs a script of the POSIX shell on the host; args are the script's.
func (h Host) Command(script string, args ...string) []string {
	words := append([]string{"/bin/sh", "-c", script, "connbench"}, args...)
	if h.Sudo {
		words = append([]string{"sudo", "-n"}, words...)
	}
	if h.Joined {
		words = []string{"exec " + quoted(words)}
	}
	return append(append([]string{}, h.Via...), words...)
}

// quoted is a line from which a shell makes the words.
func quoted(words []string) string {
	var line []string
	for _, word := range words {
		if word == "" || strings.ContainsFunc(word, special) {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		line = append(line, word)
	}
	return strings.Join(line, " ")
}

// special is true for what may mean something to a shell.
func special(r rune) bool {
	return !strings.ContainsRune("-_./:=@%+,", r) && !('0' <= r && r <= '9') && !('a' <= r && r <= 'z') && !('A' <= r && r <= 'Z')
}

// runPatience bounds a script; the longest takes in a program, over a slow line.
const runPatience = 10 * time.Minute

// Run runs a script and returns what it prints; input may be nil.
func (h Host) Run(ctx context.Context, input io.Reader, script string, args ...string) (string, error) {
	return h.run(ctx, runPatience, input, script, args...)
}

func (h Host) run(ctx context.Context, patience time.Duration, input io.Reader, script string, args ...string) (string, error) {
	var output bytes.Buffer
	var said tail.Tail
	command := h.Command(script, args...)
	err := subprocess.Run(ctx, patience, func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = input, &output, &said
	}, command...)
	switch line := said.Line(); {
	case err == nil:
		return output.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", explain.Hint(fmt.Errorf("host %s: %s is missing here", h.Name, command[0]), "install it, or correct the way to the host in the lab file")
	case line != "":
		err = errors.New(line)
	}
	err = fmt.Errorf("host %s: %w", h.Name, err)
	if h.Explain != nil {
		err = h.Explain(err)
	} else if len(h.Via) > 0 {
		err = explain.Hint(err, "this must work: %s true", quoted(h.Via))
	}
	return "", err
}

// Dial brings the agent to the host, unless it is there already, and starts it. program
// is its path here for an architecture, as Go names it.
func (h Host) Dial(ctx context.Context, program func(ctx context.Context, architecture string) (string, error)) (*agent.Client, error) {
	architecture, err := h.Architecture(ctx)
	if err != nil {
		return nil, err
	}
	path, err := program(ctx, architecture)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	command, err := h.Carry(ctx, path, "--remote")
	if err != nil {
		return nil, err
	}
	client, err := agent.Dial(h.Name, command)
	if err == nil {
		client.PlaceBy(h.Place)
	}
	return client, err
}

// Meet brings host i of a lab to work, over the way h: it starts the agent there, asks it
// about the host, and notes which card leads from there to the other role's first host.
// Kinds whose hosts a command reaches implement [lab.Site] by it.
func (h Host) Meet(ctx context.Context, o lab.Options, specs []lab.Spec, i int) (*lab.Host, error) {
	client, err := h.Dial(ctx, o.Agent)
	if err != nil {
		return nil, err
	}
	host, err := lab.Meet(ctx, client, specs[i])
	if err == nil {
		host.Facts.Addresses = slices.Concat(specs[i].Addresses, specs[i].Spare, specs[i].Sources)
		err = link(ctx, host, specs, i)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return host, nil
}

// link notes which card of host i leads to the others: of a client host, to the server's
// first address; of that, to the first client's.
func link(ctx context.Context, host *lab.Host, specs []lab.Spec, i int) error {
	other := slices.IndexFunc(specs, func(s lab.Spec) bool { return s.Is(record.RoleServer) != specs[i].Is(record.RoleServer) })
	if other < 0 {
		return nil
	}
	set, err := addresses.Parse(slices.Concat(specs[other].Addresses, specs[other].Sources)[0])
	if err != nil {
		return err
	}
	link, err := host.Agent.Link(ctx, set.At(0).String())
	if errors.Is(err, agent.ErrHostLost) {
		return err
	}
	if err != nil {
		host.Warnings = append(host.Warnings, "link: "+err.Error())
	}
	host.Facts.Link = link
	return nil
}

// architectures are Go's names for those that uname(1) prints.
var architectures = map[string]string{
	"x86_64": "amd64", "amd64": "amd64",
	"aarch64": "arm64", "arm64": "arm64",
	"armv6l": "arm", "armv7l": "arm", "armv8l": "arm",
	"i386": "386", "i486": "386", "i586": "386", "i686": "386",
	"riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x",
	"loongarch64": "loong64", "mips64": "mips64", "ppc64": "ppc64",
}

// greetPatience is how long the first answer of a host may take: an engine may have to
// find room for the command.
var greetPatience = 2 * time.Minute

// greeting prints mark, the kernel and the machine in a line, and then its standard input.
// It does not contain the mark itself, which a command that is no shell might print.
const (
	mark     = "connbench:"
	greeting = `echo "conn""bench:$(uname -s) $(uname -m)"; exec cat`
)

// everyByte is sent to and fro by the greeting.
var everyByte = func() (all []byte) {
	for b := range 256 {
		all = append(all, byte(b))
	}
	return all
}()

// Architecture is the host's, as Go names it. The error says where a command has no shell
// behind it, or changes what passes through.
func (h Host) Architecture(ctx context.Context) (string, error) {
	output, err := h.run(ctx, greetPatience, bytes.NewReader(everyByte), greeting)
	if err != nil {
		return "", err
	}
	before, answer, found := strings.Cut(output, mark)
	answer, echo, _ := strings.Cut(answer, "\n")
	switch {
	case !found:
		return "", explain.Hint(fmt.Errorf("host %s: the command does not reach a shell: its answer is %q", h.Name, begin(output)),
			"this must print hello: %s sh -c 'echo hello'", quoted(h.Via))
	case before != "":
		return "", fmt.Errorf("host %s: its shell prints %q when a command is run: it must print nothing of its own", h.Name, begin(before))
	case echo == "":
		return "", explain.Hint(fmt.Errorf("host %s: standard input does not reach the host", h.Name),
			"the command must forward standard input: kubectl and docker need -i")
	case echo != string(everyByte):
		return "", explain.Hint(fmt.Errorf("host %s: the connection alters data: every byte must pass unchanged", h.Name),
			"do not allocate a terminal: leave out -t with ssh, kubectl and docker")
	}
	kernel, machine, _ := strings.Cut(answer, " ")
	if kernel != "Linux" {
		return "", fmt.Errorf("host %s: it runs %s, and must run Linux", h.Name, kernel)
	}
	architecture := architectures[machine]
	if architecture == "" {
		return "", fmt.Errorf("host %s: its architecture, %q, is not supported", h.Name, machine)
	}
	return architecture, nil
}

// The agent's own program is brought by a shell, since nothing else is there yet.
// It lies where the agent will keep all others: see its cacheFolder.
const (
	// findProgram sets $folder, for the program whose hash is $1.
	findProgram = `
usable() { # is $1 a folder that nobody else can write to, and the one in it?
	mkdir -p "${1%/*}" 2>/dev/null
	case $(ls -ldL "${1%/*}") in ????????w[!tT]*) return 1 ;; esac
	for made in "$1" "$1/programs"; do
		[ -d "$made" ] || mkdir -m 700 "$made" 2>/dev/null
		[ -d "$made" ] && [ ! -L "$made" ] && [ -O "$made" ] && [ -w "$made" ] || return 1
		case $(ls -ld "$made") in ?????w* | ????????w*) return 1 ;; esac
	done
}
cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
place=$cache/connbench other=${TMPDIR:-/tmp}/connbench-$(id -u)
[ "$cache" ] && usable "$place" || { place=$other && usable "$place"; } ||
	{ echo "no place for programs that is ours alone: $cache/connbench or $other" >&2; exit 1; }
folder=$place/programs/$1
program=$folder/connbench-agent
sum() {
	if command -v sha256sum >/dev/null; then sha256sum "$1"
	elif command -v shasum >/dev/null; then shasum -a 256 "$1"
	elif command -v openssl >/dev/null; then openssl dgst -sha256 -r "$1"
	else echo "sha256sum is missing there" >&2; exit 1
	fi
}
same() { found=$(sum "$1") || exit 1; [ "${found%% *}" = "$2" ]; }
`
	// have prints "yes" where it is there, whole.
	have = findProgram + `
if [ -x "$program" ] && same "$program" "$1"; then
	touch "$folder" && echo yes # what was not used for long is removed
fi
`
	// put files it from standard input: written under another name and renamed, so that no
	// half of it is ever found.
	put = findProgram + keep
	// take is put for a file on the host, $2, which is removed.
	take = findProgram + `exec <"$2" && rm -f "$2"` + keep
	keep = `
set -e
umask 077
mkdir -p "$folder"
partial=$folder/partial.$$
trap 'rm -f "$partial"' EXIT
cat >"$partial"
same "$partial" "$1" || { echo "it arrived damaged" >&2; exit 1; }
chmod 700 "$partial"
mv "$partial" "$program"
`
	run = findProgram + `
shift
exec "$program" "$@"
`
)

// Carry brings the program at path to the host, unless it is there already, and
// returns what runs it there with args.
func (h Host) Carry(ctx context.Context, path string, args ...string) ([]string, error) {
	what, err := programs.NamedIn(path)
	if err != nil {
		return nil, err
	}
	hash := what.SHA256
	answer, err := h.Run(ctx, nil, have, hash)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(answer) != "yes" {
		if err := h.bring(ctx, path, hash); err != nil {
			return nil, fmt.Errorf("%w (it goes into ~/.cache/connbench there)", err)
		}
	}
	return h.Command(run, append([]string{hash}, args...)...), nil
}

// bring brings the program at path and has it kept.
func (h Host) bring(ctx context.Context, path, hash string) error {
	if h.Place == nil {
		from, err := os.Open(path)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = h.Run(ctx, from, put, hash)
		return err
	}
	there, err := h.Place(ctx, path)
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	_, err = h.Run(ctx, nil, take, hash, there)
	return err
}

// begin is the beginning of what a host says.
func begin(text string) string {
	const most = 80
	if text = strings.TrimSpace(text); len(text) > most {
		return text[:most] + "…"
	}
	return text
}
