package reference

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"connbench/harness/phase"
	"connbench/harness/record"
)

// files are the files of a run, with the types that they are decoded to.
var files = []struct {
	name, title, schema string
	kind                reflect.Type
}{
	{record.ManifestFile, "manifest.json", "manifest.schema.json", reflect.TypeFor[record.Manifest]()},
	{record.TrialsFile, "a line of trials.jsonl", "trial.schema.json", reflect.TypeFor[record.Trial]()},
	{record.SamplesFile, "a line of samples.jsonl.gz", "sample.schema.json", reflect.TypeFor[record.Sample]()},
}

// Record returns the page about the files of a run.
func Record() (string, error) {
	p := newPage("The record of a run")
	p.paragraph("What the files of a run hold, member by member. [README.md](README.md) says what the files are and which rules hold for all of them, " +
		"and lists the stop reasons and the figures. A member is optional where it may be left out.")
	for _, file := range files {
		o, err := objectsOf(file.kind)
		if err != nil {
			return "", err
		}
		for i, object := range o.list {
			if i == 0 {
				p.heading(2, code(file.name))
				p.paragraph("%s [%s](%s) is the JSON schema.", object.doc, file.schema, file.schema)
			} else {
				p.heading(3, object.heading())
				p.paragraph("%s", object.doc)
			}
			p.table([]string{"member", "holds", "meaning"}, o.rows(object))
		}
	}
	return p.String(), nil
}

// object is one kind of object in a file.
type object struct {
	kind   reflect.Type
	names  []string // of the members that are such objects
	doc    string
	fields []Field
	// found says which phase fills in a member, for those that belong to one.
	found map[string]phase.Phase
}

func (o *object) heading() string {
	var quoted []string
	for _, name := range o.names {
		quoted = append(quoted, code(name))
	}
	return strings.Join(quoted, ", ")
}

// objects are the objects of one file, in the order in which a reader meets them.
type objects struct{ list []*object }

// objectsOf returns the objects of a file that is decoded to a type. For trials, these
// include the objects of the phases, in the phases' order.
func objectsOf(kind reflect.Type) (*objects, error) {
	o := &objects{}
	if err := o.add(kind, ""); err != nil {
		return nil, err
	}
	if kind != reflect.TypeFor[record.Trial]() {
		return o, nil
	}
	trial := o.list[0]
	trial.found = map[string]phase.Phase{}
	for _, ph := range phase.All() {
		for _, found := range ph.Finds {
			trial.found[found.Name()] = ph
			trial.fields = append(trial.fields, Field{Name: found.Name(), Type: found.Type(), Optional: true})
			if err := o.add(found.Type(), found.Name()); err != nil {
				return nil, err
			}
		}
	}
	if names, _ := record.Sections(); len(names) != len(trial.found) {
		return nil, fmt.Errorf("records have the objects %s; phases find only %d of them", strings.Join(names, ", "), len(trial.found))
	}
	return o, nil
}

// add adds the type of a member, and those within.
func (o *objects) add(kind reflect.Type, name string) error {
	if known := o.of(kind); known != nil {
		if !slices.Contains(known.names, name) {
			known.names = append(known.names, name)
		}
		return nil
	}
	doc, fields, err := Of(kind, "json")
	if err != nil {
		return err
	}
	o.list = append(o.list, &object{kind: kind, names: []string{name}, doc: doc, fields: fields})
	for _, field := range fields {
		inner, suffix := structWithin(field.Type)
		if inner == nil {
			continue
		}
		if err := o.add(inner, field.Name+suffix); err != nil {
			return err
		}
	}
	return nil
}

func (o *objects) of(kind reflect.Type) *object {
	i := slices.IndexFunc(o.list, func(object *object) bool { return object.kind == kind })
	if i < 0 {
		return nil
	}
	return o.list[i]
}

// structWithin returns the struct in a member's type, nil if there is none. suffix marks
// the names of members with several structs.
func structWithin(kind reflect.Type) (inner reflect.Type, suffix string) {
	for {
		switch kind.Kind() {
		case reflect.Slice:
			suffix += "[]"
		case reflect.Map:
			suffix += "{}"
		case reflect.Pointer:
		case reflect.Struct:
			if kind.PkgPath() != "time" {
				return kind, suffix
			}
			return nil, ""
		default:
			return nil, ""
		}
		kind = kind.Elem()
	}
}

// rows returns the members of an object as rows of a table.
func (o *objects) rows(of *object) (rows [][]string) {
	link := func(kind reflect.Type) string { return "[object](" + anchor(o.of(kind).heading()) + ")" }
	for _, field := range of.fields {
		words := holds(field.Type, field.Name, link)
		if field.Optional {
			words += ", optional"
		}
		meaning := field.Doc
		if ph, is := of.found[field.Name]; is {
			meaning = fmt.Sprintf("Found by the phase [%s](%s%s).", ph.Name, "../"+phaseFile, anchor(code(ph.Name)))
		}
		rows = append(rows, []string{code(field.Name), words, meaning})
	}
	return rows
}
