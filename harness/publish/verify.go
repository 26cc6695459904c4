package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/jsonschema-go/jsonschema"

	_ "connbench/harness/phase/all" // the reports have their figures and tables
	"connbench/harness/plain"
	"connbench/harness/record"
	"connbench/harness/record/folder"
	"connbench/harness/report"
	"connbench/harness/table"
)

// Bounds of what a code host must keep, in bytes.
const (
	maxFolderBytes  = 4 << 20
	maxResultsBytes = 15 << 20
)

// Verify says what is wrong with a published run in the folder dir, which anybody may have
// sent: whether its files are those of a run, as their schemas in the folder results say,
// small enough, whole, and the reports what the raw files come to; and whether its figures
// contradict each other. Problems are a line each.
func Verify(dir, results string) (problems []string, err error) {
	run, err := folder.Open(dir)
	if err != nil {
		return []string{err.Error()}, nil
	}
	problems = unsampled(run)
	strange, err := validate(dir, results)
	if problems = append(problems, strange...); err != nil || len(problems) > 0 {
		return problems, err
	}
	if run.Manifest.Published == nil {
		problems = append(problems, "it was not published: make publish RUN="+dir)
	}
	problems = append(problems, Check(run, nil)...)
	problems = append(problems, strangers(dir)...)
	problems = append(problems, hashes(run.Manifest)...)
	problems = append(problems, implausible(run)...)
	size, err := sizeOf(dir)
	if err != nil {
		return problems, err
	}
	if size > maxFolderBytes {
		problems = append(problems, fmt.Sprintf("it has %s, more than %s: measure fewer connections or rounds in a run", table.Memory(size), table.Memory(maxFolderBytes)))
	}
	stale, err := stale(dir)
	return append(problems, stale...), err
}

// VerifyAll says what is wrong with the published runs in folders dirs; without any, with all
// in the folder results, and whether together they are too large.
func VerifyAll(results string, dirs []string) (problems []string, err error) {
	all := len(dirs) == 0
	if all {
		packed, err := filepath.Glob(filepath.Join(results, "*", record.TrialsFile+record.Packed))
		if err != nil {
			return nil, err
		}
		for _, file := range packed { // others are runs of this machine
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	var total int64
	for _, dir := range dirs {
		found, err := Verify(dir, results)
		for _, text := range found {
			problems = append(problems, filepath.Base(dir)+": "+text)
		}
		if err != nil {
			return problems, err
		}
		size, err := sizeOf(dir)
		if err != nil {
			return problems, err
		}
		total += size
	}
	if all && total > maxResultsBytes {
		problems = append(problems, fmt.Sprintf("the published runs have %s, more than %s: take superseded ones away", table.Memory(total), table.Memory(maxResultsBytes)))
	}
	return problems, nil
}

// validate checks the raw files against their schemas.
func validate(dir, results string) (problems []string, err error) {
	for _, file := range []struct{ name, schema string }{
		{record.ManifestFile, "manifest.schema.json"},
		{record.TrialsFile + record.Packed, "trial.schema.json"},
		{record.SamplesFile, "sample.schema.json"},
	} {
		schema, err := readSchema(filepath.Join(results, file.schema))
		if err != nil {
			return nil, err
		}
		for value, err := range folder.Values(filepath.Join(dir, file.name)) {
			if err == nil {
				err = schema.Validate(value)
			}
			if err != nil {
				problems = append(problems, plain.Line(file.name+": "+err.Error()))
				break // those that follow are like it
			}
		}
	}
	return problems, nil
}

func readSchema(path string) (*jsonschema.Resolved, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return schema.Resolve(nil)
}

var sha256Text = regexp.MustCompile(`^[0-9a-f]{64}$`)

// hashes names the programs without a hash: nobody can tell what they were.
func hashes(m record.Manifest) (problems []string) {
	for _, v := range m.Variants {
		if !sha256Text.MatchString(v.SHA256) {
			problems = append(problems, fmt.Sprintf("manifest: the program of %s/%s has no SHA-256", v.Name, v.Class))
		}
	}
	return problems
}

// stale names the reports that are not what the raw files come to.
func stale(dir string) (problems []string, err error) {
	work, err := os.MkdirTemp("", "connbench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	again := filepath.Join(work, filepath.Base(dir)) // the name is part of the reports
	if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
		return nil, err
	}
	run, err := folder.Open(again)
	if err != nil {
		return nil, err
	}
	if err := report.WritePublished(run); err != nil {
		return nil, err
	}
	return problems, filepath.WalkDir(again, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(again, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !bytes.Equal(got, want) {
			problems = append(problems, name+" is not what the raw files come to: connbench publish writes it anew")
		}
		return nil
	})
}

// sizeOf is the size of the files in a folder, in bytes.
func sizeOf(dir string) (size int64, err error) {
	return size, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
}
