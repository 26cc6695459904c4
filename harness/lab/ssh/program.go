package ssh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

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
func (c *Connection) Architecture(ctx context.Context) (string, error) {
	const mark = "connbench:"
	output, err := c.Run(ctx, nil, `echo "`+mark+`$(uname -s) $(uname -m)"`)
	if err != nil {
		return "", err
	}
	before, answer, ok := strings.Cut(output, mark)
	if !ok || before != "" {
		return "", fmt.Errorf("host %s: its shell prints %q when a command is run: it must print nothing of its own", c.host.Name, strings.TrimSpace(output))
	}
	kernel, machine, _ := strings.Cut(strings.TrimSpace(answer), " ")
	if kernel != "Linux" {
		return "", fmt.Errorf("host %s: it runs %s, and must run Linux", c.host.Name, kernel)
	}
	architecture := architectures[machine]
	if architecture == "" {
		return "", fmt.Errorf("host %s: it is a %q, for which nothing can be built", c.host.Name, machine)
	}
	return architecture, nil
}

// The agent's own program is brought by a shell, since nothing else is there yet.
// It lies where the agent will keep all others: see agent's cache.
const (
	// findProgram sets $folder, for the program whose hash is $1.
	findProgram = `
base=${XDG_CACHE_HOME:-${HOME:?is not set, and so there is no place for programs}/.cache}
folder=$base/connbench/programs/$1
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
	// put files it from standard input: written beside and renamed, so that no
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
func (c *Connection) Carry(ctx context.Context, path string, args ...string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	answer, err := c.Run(ctx, nil, have, hash)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(answer) != "yes" {
		if _, err := c.Run(ctx, bytes.NewReader(text), put, hash); err != nil {
			return nil, fmt.Errorf("%w (%d MB go into ~/.cache/connbench there)", err, len(text)>>20)
		}
	}
	return c.Command(run, append([]string{hash}, args...)...), nil
}
