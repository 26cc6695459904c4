package reference

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"connbench/harness/compare"
	"connbench/harness/environment"
	"connbench/harness/phase"
	"connbench/harness/plan"
	"connbench/harness/table"
)

// Plan returns the page about plans.
func Plan() (string, error) {
	p := newPage("Plans")
	p.paragraph("A plan says what a run does: which servers, how many connections, which phases. It is a TOML file, and `connbench bench --plan FILE` or `make bench PLAN=FILE` runs it. " +
		"The plans in this folder are built in, and go by their names: `make bench PLAN=quick`. The manifest of a run has the whole plan as JSON, under the same names.")
	p.paragraph("Omitted keys take their defaults. An unknown key or an invalid value is an error that names the file, the line and the key, before anything runs.")
	p.paragraph("Two runs whose plans differ in a key can still be compared, except in the figures that the last column lists.")

	p.heading(2, "The built-in plans")
	if err := builtIn(p); err != nil {
		return "", err
	}

	p.heading(2, "General keys")
	p.paragraph("[Labs](../lab/README.md) are the places where plans run, and [servers/README.md](../../servers/README.md) is about variants.")
	general := plan.Default()
	for _, table := range []struct {
		name  string
		value any
	}{{"", general}, {"server", general.Server}, {"client", general.Client}} {
		if err := keys(p, table.name, "", table.value); err != nil {
			return "", err
		}
	}

	p.heading(2, "Keys of the phases")
	p.paragraph("Each phase has a table of its own; [the phases](../phase/README.md) have more.")
	for _, ph := range phase.All() {
		if ph.Table != nil {
			if err := keys(p, ph.Table.Name(), ph.About, ph.Table.Defaults()); err != nil {
				return "", err
			}
		}
	}
	return p.String(), nil
}

// builtIn lists the built-in plans.
func builtIn(p *page) error {
	var rows [][]string
	for _, name := range plan.Names() {
		built, err := plan.LoadNamed(name)
		if err != nil {
			return err
		}
		var phases []string
		for _, ph := range phase.Of(built, 1) {
			phases = append(phases, ph.Name)
		}
		connections := "max"
		if built.Connections != plan.Max {
			connections = table.Count(int(built.Connections))
		}
		rows = append(rows, []string{
			fmt.Sprintf("[%s](%s.toml)", code(name), name), built.Title + ".\n\n" + built.About,
			connections, fmt.Sprintf("%d × %s", built.Rounds, strings.Join(built.Variants, ", ")), strings.Join(phases, ", "),
		})
	}
	p.table([]string{"plan", "what it asks", "connections", "rounds × servers", "phases"}, rows)
	return nil
}

// keys lists the keys of a table with their defaults.
func keys(p *page, name, about string, defaults any) error {
	doc, fields, err := Of(reflect.TypeOf(defaults), "toml")
	if err != nil {
		return err
	}
	if name != "" {
		p.heading(3, code("["+name+"]"))
		if about == "" {
			about = doc
		}
		p.paragraph("%s", about)
	}
	var rows [][]string
	for _, field := range fields {
		if field.Type.Kind() == reflect.Struct {
			continue // a table of its own
		}
		value, err := json.Marshal(reflect.ValueOf(defaults).FieldByIndex(field.Index).Interface())
		if err != nil {
			return err
		}
		path := strings.TrimPrefix(name+"."+field.Name, ".")
		rows = append(rows, []string{
			code(field.Name), holds(field.Type, field.Name, nil), defaultOf(path, string(value)), field.Doc, compare.Spoils(environment.Plan(path)),
		})
	}
	p.table([]string{"key", "holds", "default", "meaning", "figures it affects"}, rows)
	return nil
}

// defaultOf returns the default of a key as TOML. value is the default as JSON, which
// differs from TOML only in empty lists. A key is required if a plan cannot have its
// default.
func defaultOf(path, value string) string {
	general := plan.Default()
	general.Name = "file" // Parse takes it from the file's name
	if slices.ContainsFunc(general.Problems(), func(problem string) bool { return strings.HasPrefix(problem, path+" ") }) {
		return "required"
	}
	if value == "null" {
		value = "[]"
	}
	return code(value)
}
