package probe

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
)

// here is a reader of the machine that the test runs on.
func here(t *testing.T) *Reader {
	t.Helper()
	reader, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

func TestReadingsSurviveJSON(t *testing.T) {
	reader := here(t)
	process, err := reader.Process(os.Getpid(), Detail)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := reader.Host("here")
	system := reader.System(Detail)
	for _, reading := range []any{process, host, system, system.Since(system, nil)} {
		line, err := json.Marshal(reading)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(reading))
		if err := json.Unmarshal(line, back.Interface()); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(back.Interface()); string(again) != string(line) {
			t.Errorf("%T: sent\n%s\ngot\n%s", reading, line, again)
		}
		t.Logf("%s", line)
	}
}
