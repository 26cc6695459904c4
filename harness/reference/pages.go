package reference

import (
	"encoding/json"
	"path/filepath"
	"reflect"

	"connbench/harness/cause"
	"connbench/harness/record"
	"connbench/harness/schema"
)

// The files of the pages, below the root of the module.
const (
	recordFile = "results/RECORD.md"
	planFile   = "harness/plan/README.md"
	phaseFile  = "harness/phase/README.md"
)

// Pages returns all pages and schemas by their files below the root of the module.
func Pages() (map[string]string, error) {
	pages, err := schemas()
	if err != nil {
		return nil, err
	}
	for file, write := range map[string]func() (string, error){recordFile: Record, planFile: Plan, phaseFile: Phases} {
		if pages[file], err = write(); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// schemas returns the JSON schemas of a run's files.
func schemas() (map[string]string, error) {
	pages := map[string]string{}
	for _, file := range files {
		text, err := Schema(file.kind, file.title)
		if err != nil {
			return nil, err
		}
		pages[filepath.Join(filepath.Dir(recordFile), file.schema)] = text
	}
	return pages, nil
}

// Schema returns the JSON schema of a file of a run. kind is the type that the file is
// decoded to.
func Schema(kind reflect.Type, title string) (string, error) {
	sections := map[string]reflect.Type{}
	if kind == reflect.TypeFor[record.Trial]() {
		names, types := record.Sections()
		for i, name := range names {
			sections[name] = types[i]
		}
	}
	made, err := schema.Of(kind, title, sections, describe)
	if err != nil {
		return "", err
	}
	if kind == reflect.TypeFor[record.Trial]() {
		reason := made.Properties["stop"].Properties["reason"]
		for _, name := range cause.Reasons() {
			reason.Enum = append(reason.Enum, name)
		}
	}
	text, err := json.MarshalIndent(made, "", "  ")
	return string(text) + "\n", err
}

// describe implements [schema.Describe].
func describe(kind reflect.Type) (about string, members map[string]string, err error) {
	about, fields, err := Of(kind, "json")
	members = map[string]string{}
	for _, field := range fields {
		members[field.Name] = field.Doc
	}
	return about, members, err
}
