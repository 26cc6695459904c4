// Package variant finds the servers that can be measured: one folder each below
// servers/, described by its variant.toml. servers/README.md documents the file.
package variant

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"connbench/harness/config"
	"connbench/harness/explain"
	"connbench/harness/naming"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
	"connbench/servers/contract"
)

// File is the name of a variant's description in its folder.
const File = "variant.toml"

// Classes in which a variant can be measured.
const (
	ClassDefault = "default" // as the library's own documentation shows it
	ClassTuned   = "tuned"   // its best known settings, written down
)

// Classes are all of them.
var Classes = []string{ClassDefault, ClassTuned}

// Variant is one server: a folder below servers/.
type Variant struct {
	Name     string `toml:"name" json:"name"`
	Title    string `toml:"title" json:"title"`
	Model    string `toml:"model" json:"model"`
	Language string `toml:"language" json:"language"`
	Library  string `toml:"library" json:"library,omitempty"`
	// WebSocket is the WebSocket implementation, "" if it is the library's.
	WebSocket string `toml:"websocket" json:"websocket,omitempty"`
	// Needs are the programs and libraries that building or running it takes, besides Go.
	Needs []Need `toml:"needs" json:"needs,omitempty"`
	// Protocols lists what it speaks, the first by itself: empty for WebSocket alone.
	Protocols []string `toml:"protocols" json:"protocols,omitempty"`
	// Security lists the layers that it supports below its protocol: "tls" or nothing.
	Security []string `toml:"security" json:"security,omitempty"`
	// Broadcast lists the protocols in which it can send each message to all connections: some of
	// [contract.Broadcasts].
	Broadcast []string `toml:"broadcast" json:"broadcast,omitempty"`
	// Device is [DeviceTUN] for a server that speaks TCP itself over such a device, "" for one
	// with the kernel's sockets.
	Device string `toml:"device" json:"device,omitempty"`
	// Compression lists how it can compress the messages of WebSocket: some of
	// [contract.Compressions].
	Compression []string `toml:"compression" json:"compression,omitempty"`
	// Waives are the checks of the gate that the library cannot keep, each with the reason.
	Waives map[string]string `toml:"waives" json:"waives,omitempty"`
	// Template says that connbench new copies this variant for its language.
	Template bool             `toml:"template" json:"template,omitempty"`
	Limits   Limits           `toml:"limits" json:"limits,omitzero"`
	Classes  map[string]Class `toml:"class" json:"classes"`
	// Folder is where variant.toml lies.
	Folder string `toml:"-" json:"folder"`
}

// DeviceTUN is the device of servers that speak TCP themselves.
const DeviceTUN = "tun"

// Limits are caps that the library itself sets.
type Limits struct {
	// MaxConnectionsPerProcess is 0 where the library has no cap.
	MaxConnectionsPerProcess int `toml:"max_connections_per_process" json:"max_connections_per_process,omitempty"`
}

// Class is one way to build, start and set up a variant.
type Class struct {
	Settings string   `toml:"settings" json:"settings"`
	Build    []string `toml:"build" json:"build"`
	Run      []string `toml:"run" json:"run"`
}

// Choice is a variant in one of its classes: what a trial measures.
type Choice struct {
	Variant
	Class string
	// Commit is the abbreviated git commit of an earlier build, "" for the present one.
	Commit string
	// Go is the release of Go that builds it, "" for the one at hand.
	Go string
	// Protocol is what is spoken: "" for WebSocket, or one of [contract.Protocols].
	Protocol string
	// Secured is the layer below the protocol: "" for none, [SecurityTLS] or [SecurityResumed].
	Secured string
	// Compressed is how messages are compressed: "" for not at all, or one of
	// [contract.Compressions].
	Compressed string
}

// Broadcasts says whether the choice can send each message to all connections, in the protocol that
// it speaks.
func (c Choice) Broadcasts() bool {
	return slices.Contains(c.Broadcast, cmp.Or(c.Protocol, contract.ProtocolWebSocket))
}

// At returns the choice as built from a commit, which is added to its name:
// "gnet@1a2b3c4d5e".
func (c Choice) At(commit string) Choice {
	c.Name, c.Commit = c.Name+atCommit+commit, commit
	return c
}

// goRelease is how a release of Go is written.
var goRelease = regexp.MustCompile(`^1\.[0-9]+(\.[0-9]+|rc[0-9]+)?$`)

// WithDevices leaves out the choices that take a device where a lab has none, and says so.
func WithDevices(choices []Choice, has bool, lab string, say func(format string, args ...any)) (able []Choice) {
	said := map[string]bool{}
	for _, c := range choices {
		if c.Device == "" || has {
			able = append(able, c)
		} else if !said[c.Folder] {
			said[c.Folder] = true
			say("%s is left out: it needs a %s device, which lab %s does not have (LAB=netns has)", c.Name, c.Device, lab)
		}
	}
	return able
}

// ByRelease returns each choice in Go once for each release of Go, which is added to its name
// ("gnet@go1.27.3") and builds it, and the others as they are. Go fetches the releases.
func ByRelease(choices []Choice, releases []string) (expanded []Choice, err error) {
	for _, release := range releases {
		if !goRelease.MatchString(release) {
			return nil, explain.Hint(fmt.Errorf("%q is no release of Go", naming.Cut(release)), "write releases as 1.26.8 or 1.27rc1")
		}
	}
	for _, c := range choices {
		if c.Language != "Go" || len(releases) == 0 {
			expanded = append(expanded, c)
			continue
		}
		for _, release := range releases {
			built := c
			built.Name, built.Go = c.Name+atCommit+"go"+release, release
			expanded = append(expanded, built)
		}
	}
	return expanded, nil
}

// Present returns the name of a variant without the commit that At has added.
func Present(name, commit string) string {
	if commit == "" {
		return name
	}
	return strings.Replace(name, atCommit+commit, "", 1) // layers may follow it
}

// atCommit separates a variant's name from a commit, or a release of Go.
const atCommit = "@"

// String is the choice as it is written on the command line, "gnet/tuned".
func (c Choice) String() string { return c.Name + "/" + c.Class }

// Discover reads every folder of dir that has a variant.toml, in order of name.
func Discover(dir string) ([]Variant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", File))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, explain.Hint(fmt.Errorf("there is no */%s below %s", File, dir), "run connbench in its source tree, or name the folder of the variants with --servers")
	}
	sort.Strings(files)
	var found []Variant
	for _, file := range files {
		v, err := read(file)
		if err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return found, nil
}

// earlierBroadcast is how revisions without broadcasts over HTTP say that a server can broadcast.
// `connbench bench --base` reads them.
var earlierBroadcast = regexp.MustCompile(`(?m)^broadcast = true$`)

func read(file string) (v Variant, err error) {
	text, err := config.Load(file)
	if err != nil {
		return v, err
	}
	text = earlierBroadcast.ReplaceAllLiteral(text, []byte(`broadcast = ["websocket"]`))
	if v.Folder, err = filepath.Abs(filepath.Dir(file)); err != nil {
		return v, err
	}
	return v, config.Decode(file, text, &v, func() []string { return v.problems() })
}

// problems are all that is wrong with v, a line each, which begins with the key.
func (v Variant) problems() (list []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	if err := naming.Check("name", v.Name); err != nil {
		list = append(list, err.Error())
	} else {
		wrong(v.Name != filepath.Base(v.Folder), "name is %q, but the folder is %q: they must be the same", v.Name, filepath.Base(v.Folder))
	}
	wrong(v.Title == "" || v.Model == "" || v.Language == "", "title, model and language must be set")
	for _, check := range slices.Sorted(maps.Keys(v.Waives)) {
		wrong(v.Waives[check] == "", "waives.%s: state why the library cannot keep it", check)
	}
	wrong(slices.Index(v.Protocols, contract.ProtocolWebSocket) > 0, "protocols: websocket comes first, since a server is not told to speak it")
	for _, spoken := range v.Protocols {
		wrong(!slices.Contains(contract.Protocols, spoken), "protocols has %q: it holds some of %s", spoken, quoted(contract.Protocols))
	}
	for _, spoken := range v.Broadcast {
		wrong(!slices.Contains(contract.Broadcasts, spoken), "broadcast has %q: it holds some of %s", spoken, quoted(contract.Broadcasts))
		wrong(!slices.Contains(v.speaks(), spoken), "broadcast has %q: protocols does not have it", spoken)
	}
	for _, layer := range v.Security {
		wrong(layer != SecurityTLS, "security has %q: the only layer is %q", layer, SecurityTLS)
	}
	wrong(v.Device != "" && v.Device != DeviceTUN, "device is %q: the only one is %q", v.Device, DeviceTUN)
	for _, way := range v.Compression {
		wrong(!slices.Contains(contract.Compressions, way), "compression has %q: it holds some of %s", way, quoted(contract.Compressions))
	}
	wrong(len(v.Compression) > 0 && !slices.Contains(v.speaks(), contract.ProtocolWebSocket), "compression: only messages of WebSocket are compressed")
	wrong(v.Limits.MaxConnectionsPerProcess < 0, "limits.max_connections_per_process is %d: it must not be negative", v.Limits.MaxConnectionsPerProcess)
	wrong(len(v.Classes) == 0, "no [class.default] or [class.tuned]")
	for _, name := range slices.Sorted(maps.Keys(v.Classes)) {
		class := v.Classes[name]
		wrong(!slices.Contains(Classes, name), "class.%s: a class is %q or %q", name, ClassDefault, ClassTuned)
		wrong(len(class.Build) == 0 || class.Build[0] == "", "class.%s: build is missing: state the command", name)
		wrong(len(class.Run) == 0 || class.Run[0] == "", "class.%s: run is missing: state the command", name)
		wrong(class.Settings == "", "class.%s: settings is missing: state how the library is set up", name)
	}
	return list
}

func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// Every names all variants, and after the name of a model and a colon all of that model:
// see [Select].
const Every = "*"

// Select picks the choices that names and classes ask for. A name is a variant's ("gnet":
// in each of classes that it has), a choice's ("gnet/default"), [Every], or a model's with
// it ("reactor:*", or "goroutine-per-connection:*" where a space would end the name). A
// variant with a single class is taken in that one. What is named twice is picked once.
func Select(all []Variant, names, classes []string) ([]Choice, error) {
	var chosen []Choice
	picked := map[string]bool{}
	add := func(choices ...Choice) {
		for _, c := range choices {
			if !picked[c.String()] {
				picked[c.String()] = true
				chosen = append(chosen, c)
			}
		}
	}
	for _, name := range names {
		if model, many := strings.CutSuffix(name, Every); many {
			model = strings.ReplaceAll(strings.TrimSuffix(model, ":"), "-", " ")
			if model != "" && !slices.Contains(Models, model) {
				return nil, explain.Hint(fmt.Errorf("there is no I/O model %q", model), "take one of %s, or %q for every variant", quoted(Models), Every)
			}
			for _, v := range byModel(all) {
				if model == "" || ModelOf(v.Model) == model {
					add(v.in(classes)...)
				}
			}
			continue
		}
		name, class, exact := strings.Cut(name, "/")
		i := slices.IndexFunc(all, func(v Variant) bool { return v.Name == name })
		if i < 0 {
			return nil, explain.Hint(fmt.Errorf("there is no variant %q", name), "take some of %s", strings.Join(namesOf(all), ", "))
		}
		v := all[i]
		if exact {
			if _, ok := v.Classes[class]; !ok {
				return nil, explain.Hint(fmt.Errorf("variant %s has no class %q", name, class), "it has %s", strings.Join(v.classNames(), ", "))
			}
			add(v.choice(class))
			continue
		}
		add(v.in(classes)...)
	}
	return chosen, nil
}

func (v Variant) in(classes []string) []Choice {
	names := v.classNames()
	if len(names) == 1 {
		return []Choice{v.choice(names[0])}
	}
	var chosen []Choice
	for _, name := range names {
		if slices.Contains(classes, name) {
			chosen = append(chosen, v.choice(name))
		}
	}
	return chosen
}

// choice is v in a class, speaking what it speaks by itself.
func (v Variant) choice(class string) Choice {
	return Choice{Variant: v, Class: class, Protocol: unlessWebSocket(v.speaks()[0])}
}

func (v Variant) classNames() []string {
	var names []string
	for name := range v.Classes {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func namesOf(all []Variant) []string {
	var names []string
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names
}

// Program is a choice that has been built.
type Program struct {
	Choice
	// Path is the built file.
	Path   string
	SHA256 string
}

// CommandAt is what starts the program where it lies at path, on whichever host;
// the contract's arguments follow.
func (p Program) CommandAt(path string) []string { return fill(p.Classes[p.Class].Run, path) }

// Build builds c for an architecture, as Go names it, into folder and returns the
// program. What the build prints becomes part of the error when it fails.
func (c Choice) Build(ctx context.Context, folder, architecture string) (Program, error) {
	class := c.Classes[c.Class]
	path, err := filepath.Abs(filepath.Join(folder, c.Name+"-"+c.Class))
	if err != nil {
		return Program{}, err
	}
	p := Program{Choice: c, Path: path}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return p, err
	}
	var output tail.Tail
	err = subprocess.Run(ctx, buildPatience, func(build *exec.Cmd) {
		build.Dir = c.Folder
		build.Env = append(os.Environ(), BuildEnvironment(architecture)...)
		if c.Go != "" {
			build.Env = append(build.Env, "GOTOOLCHAIN=go"+c.Go)
		}
		build.Stdout, build.Stderr = &output, &output
	}, fill(class.Build, path)...)
	if err != nil {
		return p, fmt.Errorf("building %s: %s: %w\n%s", c, strings.Join(class.Build, " "), err, strings.TrimSpace(output.Head()))
	}
	if err := isProgram(path); err != nil {
		return p, fmt.Errorf("building %s made no program: %w", c, err)
	}
	if p.SHA256, err = hash(path); err != nil {
		return p, fmt.Errorf("building %s: %w", c, err)
	}
	return p, nil
}

// buildPatience bounds a build, which may have to fetch and compile a large library.
const buildPatience = 20 * time.Minute

// isProgram is an error unless there is a file at path that can be run.
func isProgram(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file, but a %s", path, kindOf(info.Mode()))
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s may not be run: its mode is %s", path, info.Mode())
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// BuildEnvironment is what a build for an architecture finds in its environment:
// the program must run on any Linux of it, and so bring all its libraries along.
func BuildEnvironment(architecture string) []string {
	return []string{"GOOS=linux", "GOARCH=" + architecture, "CGO_ENABLED=0"}
}

func fill(command []string, program string) []string {
	filled := slices.Clone(command)
	for i := range filled {
		filled[i] = strings.ReplaceAll(filled[i], "{program}", program)
	}
	return filled
}

func hash(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
