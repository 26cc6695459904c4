package contract

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestArgsSayTheOptions(t *testing.T) {
	want := Options{Listen: []string{"127.0.0.1:8080", "[::1]:0"}, MaxMessage: 1, Backlog: 2, Loops: 3, WorkMicroseconds: 4, Class: "default"}
	got, err := ParseArgs("server", want.Args(), io.Discard)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestWithoutArgs(t *testing.T) {
	if o, err := ParseArgs("server", nil, io.Discard); err != nil {
		t.Errorf("%+v: %v", o, err)
	}
}

func TestErrorsNameTheArgument(t *testing.T) {
	for _, c := range [][]string{
		{"--listen", "--listen", "nonsense"},
		{"--max-message", "--max-message", "0"},
		{"--backlog", "--backlog", "-1"},
		{"--loops", "--loops", "0"},
		{"--work", "--work", "-1"},
		{"--class", "--class", "other"},
		{"loops", "--loops", "many"},
		{"colour", "--colour", "red"},
		{"argument", "argument"},
	} {
		_, err := ParseArgs("server", c[1:], io.Discard)
		if err == nil || !strings.Contains(err.Error(), c[0]) {
			t.Errorf("%v: %v, want an error that names %s", c[1:], err, c[0])
		}
	}
}
