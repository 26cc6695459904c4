// Package registry holds things that are chosen by name: loads, pacings, protocols
// and security layers. Each adds itself when its package is loaded.
package registry

import (
	"fmt"
	"slices"
	"strings"
)

// Registry holds entries of one sort by name.
type Registry[T any] struct {
	sort    string
	entries map[string]T
}

// New returns an empty registry. sort is the word for an entry in errors, such as
// "protocol".
func New[T any](sort string) *Registry[T] {
	return &Registry[T]{sort: sort, entries: map[string]T{}}
}

// Add adds an entry. It panics if the name is taken or empty: both are mistakes in
// the program.
func (r *Registry[T]) Add(name string, entry T) {
	if _, taken := r.entries[name]; taken || name == "" {
		panic(fmt.Sprintf("%s %q cannot be added: the name is empty or taken", r.sort, name))
	}
	r.entries[name] = entry
}

// Find returns the entry with a name, or an error that lists the names there are.
func (r *Registry[T]) Find(name string) (T, error) {
	entry, ok := r.entries[name]
	if !ok {
		return entry, fmt.Errorf("unknown %s %q; there are: %s", r.sort, name, strings.Join(r.Names(), ", "))
	}
	return entry, nil
}

// Names returns the names of all entries, sorted.
func (r *Registry[T]) Names() []string {
	var names []string
	for name := range r.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
