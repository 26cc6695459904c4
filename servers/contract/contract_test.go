package contract

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestArgsSayTheOptions(t *testing.T) {
	want := Options{Listen: []string{"127.0.0.1:8080", "[::1]:0"}, MaxMessage: 1, Backlog: 2, Loops: 3, WorkMicroseconds: 4, Class: "default"}
	for i, file := range []string{"", "server.pem", ""} {
		want.Broadcast = i == 0 // with no compression
		want.TLS, want.Protocol, want.Compression = file, []string{"", ProtocolHTTP, ProtocolTCP}[i], []string{"", CompressionDeflate, CompressionTakeover}[i]
		got, err := ParseArgs("server", want.Args(), io.Discard)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
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
		{"--protocol", "--protocol", "smtp"},
		{"--broadcast", "--broadcast", "some"},
		{"--broadcast", "--broadcast", "all", "--protocol", "tcp"},
		{"--compression", "--compression", "gzip"},
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

func TestReadyIsChecked(t *testing.T) {
	asked := Options{Listen: []string{"127.0.0.1:0", "127.0.0.1:8080", "[::1]:0"}}
	for _, test := range []struct {
		said []string
		want string // "" where all is well
	}{
		{[]string{"127.0.0.1:9000", "127.0.0.1:8080", "[::1]:9000"}, ""},
		{[]string{"127.0.0.1:9000", "127.0.0.1:8080", "[0::1]:9000"}, ""},
		{nil, "listens on 0 addresses, of 3"},
		{[]string{"127.0.0.1:9000", "127.0.0.1:8080"}, "listens on 2 addresses, of 3"},
		{[]string{"10.0.0.1:9000", "127.0.0.1:8080", "[::1]:9000"}, `listens on "10.0.0.1:9000", and was asked for 127.0.0.1:0`},
		{[]string{"127.0.0.1:9000", "127.0.0.1:8081", "[::1]:9000"}, `listens on "127.0.0.1:8081", and was asked for 127.0.0.1:8080`},
		{[]string{"[::1]:9000", "127.0.0.1:8080", "127.0.0.1:9000"}, `listens on "[::1]:9000", and`},
		{[]string{"127.0.0.1:9000", "127.0.0.1:8080", "[::]:9000"}, `listens on "[::]:9000", and`},
		{[]string{"127.0.0.1:9000", "127.0.0.1:8080", "[::1%lo]:9000"}, `listens on "[::1%lo]:9000", and`},
		{[]string{"127.0.0.1:0", "127.0.0.1:8080", "[::1]:9000"}, `listens on "127.0.0.1:0", and`},
		{[]string{"localhost:9000", "127.0.0.1:8080", "[::1]:9000"}, `listens on "localhost:9000", and`},
		{[]string{"127.0.0.1:8080", "127.0.0.1:8080", "[::1]:9000"}, "127.0.0.1:8080 twice"},
		{[]string{"\x1b[31m" + strings.Repeat("x", 1000), "127.0.0.1:8080", "[::1]:9000"}, `listens on "\x1b[31mxxx`},
		{[]string{"[::ffff:127.0.0.1]:9000", "127.0.0.1:8080", "[::1]:9000"}, ""},
	} {
		err := Ready{Ready: true, Addresses: test.said}.Check(asked)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: error %v, want %q", test.said, err, test.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}
