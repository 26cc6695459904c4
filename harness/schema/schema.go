// Package schema describes the files of a run as JSON schemas, which it makes of
// the Go types that the files are written from.
package schema

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
)

// Draft is the version of JSON schema that the schemas are written in.
const Draft = "https://json-schema.org/draft/2020-12/schema"

// Of describes the JSON of a Go struct: a pointer may be null, a field without
// omitempty is required, and there are no other members than its fields. Sections
// are optional members, or null, that are registered elsewhere, by name. Of fails for types
// that JSON cannot hold.
func Of(kind reflect.Type, title string, sections map[string]reflect.Type) (*jsonschema.Schema, error) {
	described, err := of(kind)
	if err != nil {
		return nil, err
	}
	for name, section := range sections {
		if described.Properties[name] != nil {
			return nil, fmt.Errorf("section %s is also a field of %s", name, kind)
		}
		property, err := of(section)
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", name, err)
		}
		property.Type, property.Types = "", []string{"null", property.Type}
		described.Properties[name] = property
	}
	described.Schema, described.Title = Draft, title
	return described, nil
}

func of(kind reflect.Type) (*jsonschema.Schema, error) {
	described, err := jsonschema.ForType(kind, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time"},
	}})
	if err != nil {
		return nil, err
	}
	refuseNullLists(described)
	return described, nil
}

// refuseNullLists takes back that a list may be null, which encoding/json writes
// for a nil slice: the files have an empty list there, or leave the member out.
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
