package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"connbench/clients/control"
	"connbench/harness/config"
	"connbench/harness/explain"
	"connbench/harness/lab/paper"
	"connbench/harness/naming"
)

// Kind is a kind of lab. Each is a folder below this one, whose package registers it.
// The import lines of package kinds are the only list of them.
type Kind struct {
	// Name is what its labs are called, by itself or with more behind a hyphen.
	Name string
	// Form is how such a lab is named: "netns[-CLIENTS]". Empty: only a file names it.
	Form string
	// File says what the lab file of this kind lists; "" if it has none. A file is of
	// the kind that its key `kind` names, or else of that called "hosts".
	File string
	// About says in one phrase what such a lab is.
	About string
	// Doc documents the kind and its lab file, in Markdown.
	Doc string
	// Pods says that [Options.Pods] may choose the server hosts.
	Pods bool
	// Open finds out which hosts a lab has, and makes what they need to be reached. It
	// checks all that can be known before. A mistake in the lab's name or file is a
	// usage error (package explain).
	Open func(ctx context.Context, o Options) (Site, error)
	// Paper reads what a lab file of this kind says of its hosts; nil if the kind has no
	// file. It reaches none of them. Name and Kind are set by [OnPaper].
	Paper func(file string) (paper.Lab, error)
	// Helper is a part of the kind that runs in a process of its own, if it has one:
	// see [Options.Helper]. Its error is printed to standard error.
	Helper func(in io.Reader, out io.Writer, args []string) error
}

// Site is an open lab as its kind makes it.
type Site interface {
	// Hosts are the lab's hosts, always the same; the addresses of one may change as it
	// is dialled.
	Hosts() []Spec
	// Dial starts the agent of a host, by its number in Hosts, also again when that has
	// gone. It is called for several hosts at a time. The error says why the host
	// cannot be used; [ErrGone] means that it cannot come back.
	Dial(ctx context.Context, i int) (*Host, error)
	// Close removes all that the lab has made. The agents have been closed before. What
	// cannot be removed goes to [Options.Left].
	Close()
}

// Resolver is a Site that knows what names mean where its hosts are.
type Resolver interface {
	// Resolve finds out where connections to a name and a port end: one address of each
	// server host, in the order of Hosts.
	Resolve(ctx context.Context, name string, port uint16) ([]netip.AddrPort, error)
}

// Ending is a [Site] that may end by itself, as the allocation of a scheduler does.
type Ending interface {
	// Ended receives why it has ended, once.
	Ended() <-chan error
	// Ask finds out whether it has ended, and returns why; nil if it has not.
	Ask(ctx context.Context) error
}

// EndedError is why a lab has ended by itself.
type EndedError struct{ Why error }

func (e *EndedError) Error() string { return e.Why.Error() }

// Unwrap returns why.
func (e *EndedError) Unwrap() error { return e.Why }

// ErrGone marks a host that cannot come back while its lab is open.
var ErrGone = errors.New("it cannot come back")

// Spec is a host as its lab plans it.
type Spec struct {
	Name string
	// Roles are record.RoleServer, record.RoleClient or both.
	Roles []string
	// CPUs are the CPUs that servers or swarm run on; empty means all that may be used
	// there. A host with both roles gives half of them to each.
	CPUs []int
	// Addresses are the addresses that the servers listen on, Spare more that they could
	// use.
	Addresses, Spare []string
	// Device is as in [Server].
	Device []string
	// Sources are where the swarm's connections come from: addresses and prefixes of a
	// client host.
	Sources []string
}

// addresses are all that the host has.
func (s Spec) addresses() []string { return slices.Concat(s.Addresses, s.Spare, s.Sources) }

// Is tells whether the host has a role.
func (s Spec) Is(role string) bool { return slices.Contains(s.Roles, role) }

// Options are what a lab is opened with.
type Options struct {
	// Engine is the swarm's: one of control.Engines.
	Engine string
	// Agent is the path of the agent's program for an architecture, as Go names it.
	Agent func(ctx context.Context, architecture string) (path string, err error)
	// Program is this program.
	Program string
	// Source is the root of the source tree, "" where there is none.
	Source string

	// Pods are the labels of running pods, "app=chat". Those pods are the server hosts instead
	// of one that the lab makes. "" selects no pod.
	Pods string
	// Left, if not nil, receives an error for what the lab could not remove as it closed. Its
	// hint is the command that removes it.
	Left func(error)

	// Name is the lab's, File its file, "" if it has none: [Open] sets both.
	Name, File string
}

// Helper is the command that runs the Helper of a kind.
func (o Options) Helper(kind string, args ...string) []string {
	return append([]string{o.Program, "lab", "helper", kind}, args...)
}

// NeedsSocket is an error unless the engine has kernel sockets: what the packet engine
// needs, a kind may not have.
func (o Options) NeedsSocket(hint string) error {
	if o.Engine == control.EngineSocket {
		return nil
	}
	return explain.Hint(explain.Usagef("lab %s does not support engine %s", o.Name, o.Engine), "%s", hint)
}

// registered are the kinds that package kinds imports, and those of tests.
var registered []Kind

// Register adds a kind.
func Register(k Kind) {
	if slices.ContainsFunc(registered, func(other Kind) bool { return other.Name == k.Name }) {
		panic("lab: two kinds are called " + k.Name)
	}
	registered = append(registered, k)
	slices.SortFunc(registered, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
}

// Kinds are all kinds of labs, by name.
func Kinds() []Kind { return slices.Clone(registered) }

// Named is the kind of that name.
func Named(name string) (Kind, bool) {
	i := slices.IndexFunc(registered, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return registered[i], true
}

// Forms are how labs of all kinds are named, files last.
func Forms() []string {
	var names, files []string
	for _, k := range registered {
		for _, form := range k.Forms() {
			if strings.HasPrefix(form, fileForm) {
				files = append(files, form)
			} else {
				names = append(names, form)
			}
		}
	}
	return append(names, files...)
}

// fileForm is how the name of a lab file is written.
const fileForm = "FILE.toml"

// Forms are how labs of the kind are named.
func (k Kind) Forms() (forms []string) {
	if k.Form != "" {
		forms = append(forms, k.Form)
	}
	if k.File != "" {
		forms = append(forms, fileForm+" ("+k.File+")")
	}
	return forms
}

// Names returns the names that a shell can complete, up to where a form varies.
func Names() []string {
	var names []string
	for _, k := range registered {
		if fixed, _, _ := strings.Cut(k.Form, "["); fixed != "" {
			names = append(names, fixed)
		}
	}
	return names
}

// Unknown is the mistake of naming a lab that does not exist.
func Unknown(name string) error {
	return explain.Hint(explain.Usagef("there is no lab %q", name), "take one of %s", strings.Join(Forms(), ", "))
}

// fileKind is the kind of files that name none.
const fileKind = "hosts"

// find finds the kind of the lab called name, which may be a file, and what it is
// opened with.
func find(name string, o Options) (Kind, Options, error) {
	if !isFile(name) {
		o.Name = name
		word, _, _ := strings.Cut(name, "-")
		if k, known := Named(word); known && k.Form != "" {
			return k, o, nil
		}
		return Kind{}, o, Unknown(name)
	}
	o.Name, o.File = strings.TrimSuffix(filepath.Base(name), ".toml"), name
	if err := naming.Check(name, o.Name); err != nil {
		return Kind{}, o, explain.Hint(explain.Usage(err), "rename the file")
	}
	word, _, _ := strings.Cut(o.Name, "-")
	if k, taken := Named(word); taken && k.Form != "" {
		return k, o, explain.Hint(explain.Usagef("%s: the lab would be called %q, as labs of another kind are", name, o.Name), "rename the file")
	}
	text, err := config.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Kind{}, o, explain.Usagef("there is no file %s", name)
	}
	if err != nil {
		return Kind{}, o, explain.Usage(err)
	}
	kind, formerly := kindOf(text)
	if formerly {
		return Kind{}, o, explain.Hint(explain.Usagef("%s: unknown key \"lab\"", name), "this key is now called kind")
	}
	k, known := Named(kind)
	if !known || k.File == "" {
		return k, o, explain.Usagef("%s: kind = %q is no kind of lab that has a file", name, kind)
	}
	return k, o, nil
}

// OnPaper is what the file of a lab says of its hosts, without reaching them. Its errors are
// usage errors (package explain).
func OnPaper(name string) (paper.Lab, error) {
	k, o, err := find(name, Options{})
	if err != nil {
		return paper.Lab{}, err
	}
	if k.Paper == nil || o.File == "" {
		return paper.Lab{}, explain.Hint(explain.Usagef("lab %s is on this machine, or has no file that lists its hosts", name), "name a lab file")
	}
	p, err := k.Paper(o.File)
	p.Name, p.Kind = o.Name, k.Name
	return p, explain.Usage(err)
}

func isFile(name string) bool {
	return strings.HasSuffix(name, ".toml") || strings.ContainsRune(name, filepath.Separator)
}

// kindOf is the kind that a lab file says it is of, and whether it says so by the key's
// former name. What else is wrong with the text is for the kind to say.
func kindOf(text []byte) (kind string, formerly bool) {
	var file struct {
		Kind string `toml:"kind"`
		Lab  string `toml:"lab"`
	}
	switch {
	case toml.NewDecoder(bytes.NewReader(text)).Decode(&file) != nil, file.Kind == "" && file.Lab == "":
		return fileKind, false
	case file.Kind == "":
		return file.Lab, true
	}
	return file.Kind, false
}

// Index is a table of all kinds in Markdown, with links to their documentation.
func Index() string {
	var b strings.Builder
	b.WriteString("| `LAB=` | what it is |\n| --- | --- |\n")
	for _, k := range registered {
		for _, form := range k.Forms() {
			form, _, _ = strings.Cut(form, " ")
			fmt.Fprintf(&b, "| [`%s`](%s/README.md) | %s |\n", form, k.Name, k.About)
		}
	}
	return b.String()
}
