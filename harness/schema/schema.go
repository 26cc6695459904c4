// Package schema makes JSON schemas of the Go types that the files of a run are written
// from.
package schema

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// Draft is the version of JSON schema that the schemas are written in.
const Draft = "https://json-schema.org/draft/2020-12/schema"

// Describe returns what a struct is, and what each of its members is, by name.
type Describe func(kind reflect.Type) (about string, members map[string]string, err error)

// Of returns the schema for the JSON of a Go struct. A pointer may be null, a field without
// omitempty is required, and other members are not allowed. Sections are further members,
// by name, which may be null or left out. Of returns an error for types that JSON cannot
// represent, or that describe has an error for.
func Of(kind reflect.Type, title string, sections map[string]reflect.Type, describe Describe) (*jsonschema.Schema, error) {
	described, err := of(kind, describe)
	if err != nil {
		return nil, err
	}
	for name, section := range sections {
		if described.Properties[name] != nil {
			return nil, fmt.Errorf("section %s is also a field of %s", name, kind)
		}
		property, err := of(section, describe)
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", name, err)
		}
		property.Type, property.Types = "", []string{"null", property.Type}
		described.Properties[name] = property
	}
	described.Schema, described.Title = Draft, title
	return described, nil
}

func of(kind reflect.Type, describe Describe) (*jsonschema.Schema, error) {
	described, err := jsonschema.ForType(kind, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time"},
	}})
	if err != nil {
		return nil, err
	}
	refuseNullLists(described)
	return described, addDescriptions(described, kind, describe)
}

// addDescriptions adds descriptions to the schema of a struct and of the structs within.
func addDescriptions(s *jsonschema.Schema, kind reflect.Type, describe Describe) error {
	about, members, err := describe(kind)
	if err != nil {
		return err
	}
	s.Description = about
	for _, field := range reflect.VisibleFields(kind) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		property := s.Properties[name]
		if property == nil {
			continue
		}
		inner, innermost := property, field.Type
		for inner != nil {
			switch innermost.Kind() {
			case reflect.Pointer:
			case reflect.Slice:
				inner = inner.Items
			case reflect.Map:
				inner = inner.AdditionalProperties
			default:
				if innermost.Kind() == reflect.Struct && inner.Properties != nil {
					if err := addDescriptions(inner, innermost, describe); err != nil {
						return err
					}
				}
				inner = nil
				continue
			}
			innermost = innermost.Elem()
		}
		property.Description = members[name]
	}
	return nil
}

// refuseNullLists no longer allows null for lists. encoding/json writes null for a nil
// slice, but the files have an empty list instead, or no member.
func refuseNullLists(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if slices.Equal(s.Types, []string{"null", "array"}) {
		s.Type, s.Types = "array", nil
	}
	refuseNullLists(s.Items)
	refuseNullLists(s.AdditionalProperties)
	for _, property := range s.Properties {
		refuseNullLists(property)
	}
}
