package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"connbench/harness/config"
)

// Part is a table of a plan that belongs to one phase, such as [echo]. T is a struct: its
// fields are the table's keys.
type Part[T any] struct{ name string }

// registration is a part without its type parameter.
type registration struct {
	name     string
	defaults any // a T
	check    func(Plan) []string
}

// registered lists all parts, in order of name.
var registered []registration

// NewPart adds a table to plans. defaults are its values for keys that a plan leaves out.
// check returns what is wrong with the table, a line each.
func NewPart[T any](name string, defaults T, check func(T, Plan) []string) Part[T] {
	part := Part[T]{name}
	at, found := slices.BinarySearchFunc(registered, name, func(r registration, name string) int { return strings.Compare(r.name, name) })
	if found {
		panic("plan: two parts are named " + name)
	}
	registered = slices.Insert(registered, at, registration{
		name: name, defaults: defaults,
		check: func(p Plan) []string { return check(part.Of(p), p) },
	})
	return part
}

// Table is a [Part] of any type.
type Table interface {
	// Name is the table's name.
	Name() string
	// Defaults are its values in a plan that leaves it out. They are a struct: its fields
	// are the table's keys.
	Defaults() any
}

// Name implements [Table].
func (part Part[T]) Name() string { return part.name }

// Defaults implements [Table].
func (part Part[T]) Defaults() any { return registered[part.at()].defaults }

// Of returns the part of a plan.
func (part Part[T]) Of(p Plan) T {
	if value, set := p.parts[part.name]; set {
		return value.(T)
	}
	return part.Defaults().(T)
}

// Set replaces the part of a plan. Copies of the plan keep the old one.
func (part Part[T]) Set(p *Plan, value T) {
	p.parts = maps.Clone(p.parts)
	if p.parts == nil {
		p.parts = map[string]any{}
	}
	p.parts[part.name] = value
}

// Change changes the part of a plan by a function.
func (part Part[T]) Change(p *Plan, change func(*T)) {
	value := part.Of(*p)
	change(&value)
	part.Set(p, value)
}

func (part Part[T]) at() int {
	return slices.IndexFunc(registered, func(r registration) bool { return r.name == part.name })
}

// Parts returns the names of all parts with their types, in alphabetical order.
func Parts() (names []string, types []reflect.Type) {
	for _, part := range registered {
		names, types = append(names, part.name), append(types, reflect.TypeOf(part.defaults))
	}
	return names, types
}

// decode reads a TOML file into p and checks it. It makes a struct that has the general
// keys and one table for each part, so that the decoder knows every key.
func (p *Plan) decode(file string, text []byte) error {
	var fields []reflect.StructField
	general := reflect.ValueOf(p).Elem()
	for _, field := range reflect.VisibleFields(general.Type()) {
		if field.IsExported() {
			field.Offset, field.Index = 0, nil
			fields = append(fields, field)
		}
	}
	for i, part := range registered {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("Part%d", i), Type: reflect.TypeOf(part.defaults), Tag: reflect.StructTag(`toml:"` + part.name + `"`),
		})
	}
	target := reflect.New(reflect.StructOf(fields)).Elem()
	parts := len(fields) - len(registered)
	for i, field := range fields[:parts] {
		target.Field(i).Set(general.FieldByName(field.Name))
	}
	for i, part := range registered {
		target.Field(parts + i).Set(reflect.ValueOf(part.defaults))
	}
	return config.Decode(file, text, target.Addr().Interface(), func() []string {
		for i, field := range fields[:parts] {
			general.FieldByName(field.Name).Set(target.Field(i))
		}
		p.parts = map[string]any{}
		for i, part := range registered {
			p.parts[part.name] = target.Field(parts + i).Interface()
		}
		return p.Problems()
	})
}

// MarshalJSON writes the general keys and then the parts, as a manifest has them. It leaves
// out parts that are all zero.
func (p Plan) MarshalJSON() ([]byte, error) {
	type general Plan // without this method
	text, err := json.Marshal(general(p))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Write(bytes.TrimSuffix(text, []byte("}")))
	for _, part := range registered {
		value, set := p.parts[part.name]
		if !set {
			value = part.defaults
		}
		if reflect.ValueOf(value).IsZero() {
			continue
		}
		if text, err = json.Marshal(value); err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, ",%q:%s", part.name, text)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
