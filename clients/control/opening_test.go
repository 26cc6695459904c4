package control

import (
	"strings"
	"testing"
)

// What a request cannot carry is refused, and what it can is not.
func TestOpeningCheck(t *testing.T) {
	header := func(name, value string) Opening { return Opening{Headers: []Header{{name, value}}} }
	for _, test := range []struct {
		opening Opening
		wrong   string // "" if it is right
	}{
		{Opening{}, ""},
		{Opening{Path: "/chat?room={n}&x=%20", Host: "[::1]:80", Subprotocols: []string{"chat.v2", "mqtt"}}, ""},
		{header("Authorization", "Bearer {n}\tand more, ü"), ""},
		{Opening{Each: []EachHeader{{"Cookie", []string{"a=b", "c=d"}}}}, ""},
		{Opening{Path: "chat"}, "the path"},
		{Opening{Path: "/a b"}, "the path"},
		{Opening{Path: "/a#b"}, "the path"},
		{Opening{Path: "/ü"}, "the path"},
		{Opening{Path: "/a\r\nX: y"}, "the path"},
		{Opening{Host: "a b"}, "the host"},
		{Opening{Host: "a\r\nX: y"}, "the host"},
		{header("X Y", "z"), "no token"},
		{header("", "z"), "no token"},
		{header("X:", "z"), "no token"},
		{header("X", "y\r\nZ: 1"), "control character"},
		{header("X", "y\x00"), "control character"},
		{header("X", strings.Repeat("y", 70_000)), "longer than"},
		{Opening{Each: []EachHeader{{"Cookie", nil}}}, "no values"},
		{Opening{Each: []EachHeader{{"Cookie", []string{"a", "b\n"}}}}, "control character"},
		{Opening{Subprotocols: []string{"a b"}}, "subprotocol"},
		{Opening{Subprotocols: []string{"a,b"}}, "subprotocol"},
		{header("Host", "x"), "sends its own"},
		{header("sec-websocket-KEY", "x"), "sends its own"},
		{header("Content-Length", "3"), "sends its own"},
		{header("Transfer-Encoding", "chunked"), "sends its own"},
	} {
		err := test.opening.Check()
		if (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%.80q: %v, want %q", test.opening, err, test.wrong)
		}
	}
}

// Only connections whose requests differ have requests of their own.
func TestOpeningDiffers(t *testing.T) {
	for _, test := range []struct {
		opening Opening
		want    bool
	}{
		{Opening{Path: "/chat", Headers: []Header{{"X", "y"}}}, false},
		{Opening{Path: "/chat/{n}"}, true},
		{Opening{Headers: []Header{{"X", "y{n}"}}}, true},
		{Opening{Each: []EachHeader{{"X", []string{"y"}}}}, true},
	} {
		if got := test.opening.Differs(); got != test.want {
			t.Errorf("%+v: %v", test.opening, got)
		}
	}
}
