package record_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connbench/harness/record"
	"connbench/harness/record/recordtest"
)

var update = flag.Bool("update", false, "write the schema anew")

const schemaFile = "../../results/trial.schema.json"

// schemaOf writes the JSON schema of a Go type: what encoding/json makes of it.
func schemaOf(kind reflect.Type) map[string]any {
	switch kind.Kind() {
	case reflect.Pointer:
		schema := schemaOf(kind.Elem())
		if name, ok := schema["type"].(string); ok {
			schema["type"] = []any{name, "null"}
		}
		return schema
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(kind.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(kind.Elem())}
	case reflect.Struct:
		if kind == reflect.TypeFor[time.Time]() {
			return map[string]any{"type": "string", "format": "date-time"}
		}
	default:
		panic("no schema of " + kind.String())
	}
	properties, required := map[string]any{}, []any{}
	for i := range kind.NumField() {
		field := kind.Field(i)
		if field.Anonymous {
			inner := schemaOf(field.Type)
			for name, property := range inner["properties"].(map[string]any) {
				properties[name] = property
			}
			required = append(required, inner["required"].([]any)...)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		properties[name] = schemaOf(field.Type)
		if options == "" {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}

// violation is the first way in which a value is not as a schema says, "" for none.
func violation(path string, schema map[string]any, value any) string {
	var kinds []string
	switch kind := schema["type"].(type) {
	case string:
		kinds = []string{kind}
	case []any:
		for _, k := range kind {
			kinds = append(kinds, k.(string))
		}
	}
	switch value := value.(type) {
	case nil:
		if !slices.Contains(kinds, "null") {
			return path + " is null"
		}
	case string:
		if !slices.Contains(kinds, "string") {
			return path + " is a string"
		}
	case bool:
		if !slices.Contains(kinds, "boolean") {
			return path + " is a boolean"
		}
	case float64:
		if !slices.Contains(kinds, "number") && !(slices.Contains(kinds, "integer") && value == float64(int64(value))) {
			return fmt.Sprintf("%s is the number %v", path, value)
		}
	case []any:
		if !slices.Contains(kinds, "array") {
			return path + " is a list"
		}
		for i, item := range value {
			if v := violation(fmt.Sprintf("%s[%d]", path, i), schema["items"].(map[string]any), item); v != "" {
				return v
			}
		}
	case map[string]any:
		if !slices.Contains(kinds, "object") {
			return path + " is an object"
		}
		properties, _ := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				return path + "." + name.(string) + " is missing"
			}
		}
		for name, item := range value {
			inner, known := properties[name].(map[string]any)
			if !known {
				if inner, known = schema["additionalProperties"].(map[string]any); !known {
					return path + "." + name + " is not in the schema"
				}
			}
			if v := violation(path+"."+name, inner, item); v != "" {
				return v
			}
		}
	}
	return ""
}

func schema(t *testing.T) map[string]any {
	t.Helper()
	made := schemaOf(reflect.TypeFor[record.Trial]())
	made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	made["title"] = "a line of trials.jsonl"
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	filed, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, filed) {
		t.Errorf("%s is not what the record is: go test ./harness/record -update", schemaFile)
	}
	var read map[string]any
	if err := json.Unmarshal(filed, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// The schema holds for what the writer writes, and for every published run.
func TestTrialsAreAsTheSchemaSays(t *testing.T) {
	schema := schema(t)
	o := recordtest.Default
	o.Rounds = 2
	o.Change = func(trial *record.Trial) {
		if trial.Round == 2 { // as little as a trial may hold
			*trial = record.Trial{Trial: trial.Trial, Round: 2, Variant: trial.Variant, Class: "tuned", Plan: "full", Lab: "local", Engine: "socket",
				Valid: false, Invalid: []string{"died"}, Connections: record.Connections{Target: 1}, Stop: record.Stop{Reason: record.ReasonServerDied}}
		}
	}
	files := []string{filepath.Join(recordtest.Write(t, o), record.TrialsFile)}
	published, err := filepath.Glob("../../results/*/" + record.TrialsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, published...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			var trial any
			if err := json.Unmarshal(line, &trial); err != nil {
				t.Fatalf("%s:%d: %v", file, i+1, err)
			}
			if v := violation("trial", schema, trial); v != "" {
				t.Errorf("%s:%d: %s", file, i+1, v)
			}
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	schema := schema(t)
	for _, test := range []struct{ text, want string }{
		{`{}`, "is missing"},
		{`[]`, "is a list"},
	} {
		var value any
		if err := json.Unmarshal([]byte(test.text), &value); err != nil {
			t.Fatal(err)
		}
		if v := violation("trial", schema, value); !strings.Contains(v, test.want) {
			t.Errorf("%s: %q, want %q", test.text, v, test.want)
		}
	}
}
