package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"

	"connbench/harness/record/strict"
)

// Section is an object that a phase adds to a trial, such as "echo". T is the struct that
// it is decoded to.
type Section[T any] struct{ name string }

// sections has the types of all sections, by name.
var sections = map[string]reflect.Type{}

// NewSection adds an object to trials.
func NewSection[T any](name string) Section[T] {
	if _, twice := sections[name]; twice {
		panic("record: two sections are named " + name)
	}
	sections[name] = reflect.TypeFor[T]()
	return Section[T]{name}
}

// Sections returns the names of all sections with their types, in alphabetical order.
func Sections() (names []string, types []reflect.Type) {
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		names, types = append(names, name), append(types, sections[name])
	}
	return names, types
}

// Object is a [Section] of any type.
type Object interface {
	// Name is the section's name.
	Name() string
	// Type is the struct that it is decoded to.
	Type() reflect.Type
}

// Name implements [Object].
func (s Section[T]) Name() string { return s.name }

// Type implements [Object].
func (s Section[T]) Type() reflect.Type { return reflect.TypeFor[T]() }

// Of returns the section of a trial; nil if it has none.
func (s Section[T]) Of(t *Trial) *T {
	found, _ := t.sections[s.name].(*T)
	return found
}

// Set sets the section of a trial; nil removes it.
func (s Section[T]) Set(t *Trial, value *T) {
	t.sections = maps.Clone(t.sections)
	if t.sections == nil {
		t.sections = map[string]any{}
	}
	if value == nil {
		delete(t.sections, s.name)
		return
	}
	t.sections[s.name] = value
}

// Each yields the sections of the trial in alphabetical order: the name, and the value,
// which is a pointer to a struct.
func (t *Trial) Each(yield func(name string, value any) bool) {
	for _, name := range slices.Sorted(maps.Keys(t.sections)) {
		if !yield(name, t.sections[name]) {
			return
		}
	}
}

// Loads yields the sections that are a [Load], in alphabetical order.
func (t *Trial) Loads() iter.Seq2[string, *Load] {
	return func(yield func(string, *Load) bool) {
		for _, name := range slices.Sorted(maps.Keys(t.sections)) {
			if load, is := t.sections[name].(*Load); is && !yield(name, load) {
				return
			}
		}
	}
}

// MarshalJSON writes the fields and then the sections.
func (t Trial) MarshalJSON() ([]byte, error) {
	type fields Trial // without this method
	text, err := json.Marshal(fields(t))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Write(bytes.TrimSuffix(text, []byte("}")))
	for _, name := range slices.Sorted(maps.Keys(t.sections)) {
		section, err := json.Marshal(t.sections[name])
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, ",%q:%s", name, section)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// UnmarshalJSON reads the fields and the sections. It refuses unknown members.
func (t *Trial) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	type fields Trial
	rest := fields{}
	var found map[string]any
	for name, kind := range sections {
		member, present := members[name]
		if !present {
			continue
		}
		delete(members, name)
		if bytes.Equal(member, []byte("null")) {
			continue
		}
		value := reflect.New(kind).Interface()
		if err := strict.Decode(member, value); err != nil {
			return fmt.Errorf("%s.%w", name, err)
		}
		if found == nil {
			found = map[string]any{}
		}
		found[name] = value
	}
	plain, err := json.Marshal(members)
	if err != nil {
		return err
	}
	if err := strict.Decode(plain, &rest); err != nil {
		return err
	}
	*t = Trial(rest)
	t.sections = found
	return nil
}
