// Package shell reaches a host by a command that runs on it whatever stands behind
// it, with its standard input and output here: `ssh HOST`, `kubectl exec -i POD --`,
// `srun --overlap -w NODE`, or nothing at all for this machine. It needs no more there
// than a POSIX shell and something to compute SHA-256 sums.
package shell

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"connbench/harness/agent"
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
		for i, word := range words {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		words = []string{"exec " + strings.Join(words, " ")}
	}
	return append(append([]string{}, h.Via...), words...)
}

// runPatience bounds a script; the longest takes in a program, over a slow line.
const runPatience = 10 * time.Minute

// Run runs a script and returns what it prints; input may be nil.
func (h Host) Run(ctx context.Context, input io.Reader, script string, args ...string) (string, error) {
	var output bytes.Buffer
	var said tail.Tail
	err := subprocess.Run(ctx, runPatience, func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = input, &output, &said
	}, h.Command(script, args...)...)
	if err == nil {
		return output.String(), nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if line := said.Line(); line != "" {
		err = errors.New(line)
	}
	err = fmt.Errorf("host %s: %w", h.Name, err)
	if h.Explain != nil {
		err = h.Explain(err)
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
	return agent.Dial(h.Name, command)
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

// Architecture is the host's, as Go names it.
func (h Host) Architecture(ctx context.Context) (string, error) {
	const mark = "connbench:"
	output, err := h.Run(ctx, nil, `echo "`+mark+`$(uname -s) $(uname -m)"`)
	if err != nil {
		return "", err
	}
	before, answer, ok := strings.Cut(output, mark)
	if !ok || before != "" {
		return "", fmt.Errorf("host %s: its shell prints %q when a command is run: it must print nothing of its own", h.Name, strings.TrimSpace(output))
	}
	kernel, machine, _ := strings.Cut(strings.TrimSpace(answer), " ")
	if kernel != "Linux" {
		return "", fmt.Errorf("host %s: it runs %s, and must run Linux", h.Name, kernel)
	}
	architecture := architectures[machine]
	if architecture == "" {
		return "", fmt.Errorf("host %s: it is a %q, for which nothing can be built", h.Name, machine)
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
	put = findProgram + `
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
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	answer, err := h.Run(ctx, nil, have, hash)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(answer) != "yes" {
		if _, err := h.Run(ctx, bytes.NewReader(text), put, hash); err != nil {
			return nil, fmt.Errorf("%w (%d MB go into ~/.cache/connbench there)", err, len(text)>>20)
		}
	}
	return h.Command(run, append([]string{hash}, args...)...), nil
}
