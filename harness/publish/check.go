// Package publish decides which runs may be published, and keeps the index of those that
// are.
package publish

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/report"
	"connbench/harness/version"
)

// Check says what keeps a run from being published, a line each; none when
// nothing does. Texts that contain one of allow may name a user, host or path.
func Check(run *record.Run, allow []string) []string {
	problems := slices.Clone(run.Warnings)
	m := run.Manifest
	if m.Schema == 0 {
		return append(problems, "it has no manifest: publish the folder of a run")
	}
	if m.State != record.StateFinished {
		problems = append(problems, fmt.Sprintf("state is %q: only a finished run is complete", m.State))
	}
	if len(run.Trials) == 0 || len(run.Trials) != m.Planned {
		problems = append(problems, fmt.Sprintf("%d of %d planned trials are here", len(run.Trials), m.Planned))
	}
	for _, trial := range run.Trials {
		if !trial.Valid {
			problems = append(problems, fmt.Sprintf("trial %d (%s/%s) is invalid: %s", trial.Trial, trial.Variant, trial.Class, strings.Join(trial.Invalid, "; ")))
		}
	}
	problems = append(problems, holes(m)...)
	return append(problems, private(run, allow, names())...)
}

// holes names what a manifest must say for its figures to mean something.
func holes(m record.Manifest) (problems []string) {
	need := func(name string, present bool) {
		if !present {
			problems = append(problems, "manifest: "+name+" is missing")
		}
	}
	need("title", m.Title != "")
	need("command", m.Command != "")
	need("connbench", m.Connbench != "")
	if m.Connbench == "(devel)" || strings.HasSuffix(m.Connbench, version.Changed) {
		problems = append(problems, fmt.Sprintf("manifest: connbench is %q: build it from a commit, in a clone, so that others can have the same", m.Connbench))
	}
	need("go_version", m.GoVersion != "")
	need("plan", m.Plan != nil)
	need("finished", m.Finished != nil)
	need("hosts", len(m.Hosts) > 0)
	need("variants", len(m.Variants) > 0)
	for _, h := range m.Hosts {
		need("kernel of host "+h.Name, h.Kernel != "")
		need("cpu_model of host "+h.Name, h.CPUModel != "")
		need("memory_bytes of host "+h.Name, h.MemoryBytes > 0)
	}
	return problems
}

// names are those of this machine and its user.
func names() []string {
	var list []string
	if host, err := os.Hostname(); err == nil {
		list = append(list, host)
	}
	if u, err := user.Current(); err == nil && u.Username != "root" { // root is everybody
		list = append(list, u.Username)
	}
	return list
}

// path matches absolute paths; those below folders that every Linux has are harmless.
var path = regexp.MustCompile(`(?:^|[^A-Za-z0-9_./-])(/[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]*)*)`)

var everywhere = []string{"/proc", "/sys", "/dev", "/usr", "/bin", "/etc/sysctl"}

// private finds texts that give away who made the run and where.
func private(run *record.Run, allow, names []string) (problems []string) {
	seen := map[string]bool{}
	report := func(where, what, text string) {
		if seen[what] || slices.ContainsFunc(allow, func(a string) bool { return a != "" && strings.Contains(text, a) }) {
			return
		}
		seen[what] = true
		problems = append(problems, fmt.Sprintf("%s names %s: allow it, or measure again without it", where, what))
	}
	inspect := func(where, text string) {
		for _, found := range path.FindAllStringSubmatch(text, -1) {
			if !slices.ContainsFunc(everywhere, func(prefix string) bool { return found[1] == prefix || strings.HasPrefix(found[1], prefix+"/") }) {
				report(where, "the path "+plain.Line(found[1]), text)
			}
		}
		for _, name := range names {
			if len(name) > 2 && regexp.MustCompile(`(?i)(?:^|[^a-z0-9])`+regexp.QuoteMeta(name)+`(?:$|[^a-z0-9])`).MatchString(text) {
				report(where, "the name "+name, text)
			}
		}
	}
	walk(record.ManifestFile, reflect.ValueOf(run.Manifest), inspect)
	for _, trial := range run.Trials {
		walk(fmt.Sprintf("trial %d", trial.Trial), reflect.ValueOf(trial), inspect)
	}
	inspect("the folder's name", filepath.Base(run.Dir))
	return problems
}

// walk calls tell with every text in a value, including keys of maps.
func walk(where string, value reflect.Value, tell func(where, text string)) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			walk(where, value.Elem(), tell)
		}
	case reflect.String:
		tell(where, value.String())
	case reflect.Slice:
		for i := range value.Len() {
			walk(where, value.Index(i), tell)
		}
	case reflect.Map:
		for entry := value.MapRange(); entry.Next(); {
			walk(where, entry.Key(), tell)
			walk(where, entry.Value(), tell)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			if !field.IsExported() || field.Name == "Histogram" { // base64 has slashes
				continue
			}
			walk(where, value.Field(i), tell)
		}
	}
}

// files are all that a run's folder may hold: the raw files, and those that a report
// writes from them.
var files = append([]string{record.ManifestFile, record.TrialsFile, record.TrialsFile + record.Packed, record.SamplesFile}, report.Files()...)

// strangers names what is in a folder and belongs to no run: nobody has checked it, and
// it would be published too.
func strangers(dir string) (problems []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, entry := range entries {
		kind := entry.Type().IsRegular()
		if entry.Name() == report.PlotsFolder {
			kind = entry.IsDir()
		}
		if !kind || !slices.Contains(files, entry.Name()) {
			problems = append(problems, fmt.Sprintf("it holds %q, which is no file of a run: take it away", entry.Name()))
		}
	}
	return problems
}

// unsampled names trials without samples.
func unsampled(run *record.Run) (problems []string) {
	sampled := map[int]bool{}
	for sample, err := range folder.Samples(run) {
		if err != nil {
			return []string{err.Error()}
		}
		sampled[sample.Trial] = true
	}
	for _, trial := range run.Trials {
		if !sampled[trial.Trial] {
			problems = append(problems, fmt.Sprintf("%s holds nothing of trial %d: it is not whole", record.SamplesFile, trial.Trial))
		}
	}
	return problems
}

// Publish moves the run in folder dir into results, and returns where it is now. It
// compresses the trials, and rewrites the index and the files of [report.WritePublished].
func Publish(dir, results string, allow []string) (string, error) {
	run, err := folder.Open(dir)
	if err != nil {
		return "", err
	}
	problems := append(Check(run, allow), strangers(dir)...)
	if problems = append(problems, unsampled(run)...); len(problems) > 0 {
		return "", fmt.Errorf("%s cannot be published:\n  %s", dir, strings.Join(problems, "\n  "))
	}
	target := filepath.Join(results, filepath.Base(filepath.Clean(dir)))
	if !same(dir, target) {
		if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("%s is there already: a published run is not replaced", target)
		}
		if err := os.Rename(dir, target); err != nil {
			return "", fmt.Errorf("%s cannot be moved to %s: %w", dir, target, err)
		}
	}
	if run.Manifest.Published == nil {
		run.Manifest.Published = new(time.Now().UTC().Truncate(time.Second))
		if err := folder.WriteManifest(target, run.Manifest); err != nil {
			return "", err
		}
	}
	if err := folder.PackTrials(target); err != nil {
		return "", err
	}
	if err := WriteIndex(results); err != nil {
		return "", err
	}
	// Nothing that came with the raw files is shown: tables and page are made here.
	if run, err = folder.Open(target); err != nil {
		return "", err
	}
	return target, report.WritePublished(run)
}

func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
