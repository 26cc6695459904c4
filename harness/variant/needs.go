package variant

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"connbench/harness/subprocess"
	"connbench/harness/tail"
)

// Need is something that a host must have for a variant to be built and run there. In
// variant.toml it is a text: "node >= 18 from nodejs".
type Need struct {
	// Name is a program, a library ("pkg-config:libwebsockets", "python3:uvloop"), a file
	// ("file:/usr/share/java/netty-codec-http.jar") or a part of the kernel ("linux", "io_uring", "tun").
	Name string
	// Least is the lowest version that will do, "" for any.
	Least string
	// Package is the Debian package that brings it, "" where it has the name itself.
	Package string
}

// needForm is how a need is written.
var needForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._+:@/-]*)(?: >= ([0-9]+(?:\.[0-9]+)*))?(?: from ([a-z0-9][a-z0-9.+-]*))?$`)

// UnmarshalText reads a need as it is written in variant.toml.
func (n *Need) UnmarshalText(text []byte) error {
	parts := needForm.FindStringSubmatch(string(text))
	if parts == nil {
		return fmt.Errorf(`needs: %q is not a need: write "node", "node >= 18" or "node >= 18 from nodejs" (the Debian package)`, text)
	}
	*n = Need{parts[1], parts[2], parts[3]}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (n Need) MarshalText() ([]byte, error) {
	text := n.atLeast()
	if n.Package != "" {
		text += " from " + n.Package
	}
	return []byte(text), nil
}

// atLeast is the need without its package.
func (n Need) atLeast() string {
	if n.Least == "" {
		return n.Name
	}
	return n.Name + " >= " + n.Least
}

// askers are the commands that print the version of what is no program, by what stands
// before the colon in a need's name. Distributions' packages are for their own Python.
var askers = map[string][]string{
	"pkg-config": {"pkg-config", "--modversion"},
	"python3":    {"/usr/bin/python3", "-c", "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"},
}

// inKernel are needs that the kernel meets, or does not: each returns a version.
var inKernel = map[string]func() (version string, here bool){
	"linux": func() (string, bool) {
		var name unix.Utsname
		if err := unix.Uname(&name); err != nil {
			return "", false
		}
		return firstVersion.FindString(unix.ByteSliceToString(name.Release[:])), true
	},
	"io_uring": func() (string, bool) {
		// Without a place for its parameters the call fails; the errno says whether it is
		// there, and allowed (io_uring_setup(2)).
		_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		return "", errno == unix.EFAULT
	},
	"tun": func() (string, bool) {
		// Whether a device may be made shows in a namespace alone, where the gate makes one.
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", false
		}
		unix.Close(fd)
		return "", true
	},
}

// versionPatience bounds how long a program may take to say its version.
const versionPatience = 30 * time.Second

// missing says what this host lacks of the need, "" if it lacks nothing.
func (n Need) missing(ctx context.Context) string {
	_, brings, _ := strings.Cut(n.Name, ":")
	if n.Package != "" {
		brings = n.Package
	} else if brings == "" {
		brings = n.Name
	}
	found, here := n.version(ctx)
	_, kernels := inKernel[n.Name]
	switch {
	case !here && kernels:
		return fmt.Sprintf("the kernel here has no %s, or does not allow it", n.Name)
	case !here:
		return fmt.Sprintf("%s is missing (Debian package %s)", n.atLeast(), brings)
	case n.Least != "" && found == "":
		return fmt.Sprintf("%s is needed, and the one here does not say its version", n.atLeast())
	case n.Least != "" && compareVersions(found, n.Least) < 0:
		return fmt.Sprintf("%s is needed, and version %s is here", n.atLeast(), found)
	}
	return ""
}

// firstVersion is where a program's answer says its version.
var firstVersion = regexp.MustCompile(`[0-9]+(\.[0-9]+)*`)

// version is the version of what this host has of the need, and whether it has it at all.
func (n Need) version(ctx context.Context) (version string, here bool) {
	if ask := inKernel[n.Name]; ask != nil {
		return ask()
	}
	kind, name, special := strings.Cut(n.Name, ":")
	if kind == "file" {
		_, err := os.Stat(name)
		return "", err == nil
	}
	command := append(slices.Clone(askers[kind]), name)
	if !special {
		if _, err := exec.LookPath(n.Name); err != nil || n.Least == "" {
			return "", err == nil
		}
		command = []string{n.Name, "--version"}
	}
	var said tail.Tail
	err := subprocess.Run(ctx, versionPatience, func(c *exec.Cmd) { c.Stdout, c.Stderr = &said, &said }, command...)
	if err != nil {
		return "", !special
	}
	return firstVersion.FindString(said.Head()), true
}

// compareVersions compares versions number by number; what is left out counts as 0.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	at := func(parts []string, i int) int {
		if i >= len(parts) {
			return 0
		}
		n, _ := strconv.Atoi(parts[i]) // the pattern takes digits alone
		return n
	}
	for i := range max(len(as), len(bs)) {
		if d := at(as, i) - at(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

// Missing lists what this host lacks to build and run v.
func (v Variant) Missing(ctx context.Context) (list []string) {
	for _, need := range v.Needs {
		if lack := need.missing(ctx); lack != "" {
			list = append(list, lack)
		}
	}
	return list
}

// Available are the choices that this host can build and run. It says of each variant that
// it leaves out, once, what is missing.
func Available(ctx context.Context, choices []Choice, say func(format string, args ...any)) (here []Choice) {
	missing := map[string][]string{}
	for _, c := range choices {
		list, asked := missing[c.Folder]
		if !asked {
			list = c.Missing(ctx)
			missing[c.Folder] = list
			if len(list) > 0 {
				say("%s is left out: %s", c.Name, strings.Join(list, "; "))
			}
		}
		if len(list) == 0 {
			here = append(here, c)
		}
	}
	return here
}
